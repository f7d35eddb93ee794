"""What reading hands on: `Unit` (one table inside a batch), `Reading` (its line balance), `ReadRefused`."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pipelines.settings import WrongUse

MAX_LINE = 2_000_000      # bytes of one physical line; DuckDB holds sixteen of them per buffer
MAX_COLUMNS = 10_000
MAX_REJECTS = 200_000     # unparseable lines that are listed one by one; a file with more is refused


class ReadRefused(WrongUse):
    """A file cannot be read so that every line is accounted for.

    Args:
        code: what is wrong, one word.
        message: file number and counts, never a value or a file name of a department.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} [{code}]")
        self.code = code


@dataclass(frozen=True)
class Unit:
    """One table inside a batch: a text file or a sheet, in a form DuckDB reads.

    `lines`, `blank`, `header_lines` and `trailer` come from the bytes (for office files: from the extractor).
    """

    number: int                     # `_file` of its rows
    file: int                       # number of the file in the landing manifest
    header: tuple[str, ...]         # header cells as submitted
    path: Path                      # UTF-8 text in place or in scratch, or all-text Parquet
    lines: int
    blank: int
    header_lines: int
    header_blank: int = 0           # empty lines before or inside the header
    trailer: int = 0
    member: str | None = field(default=None, repr=False)   # sheet name, which may hold personal data
    office: bool = False
    delimiter: str = ","
    quote: str = '"'
    line_end: str = "\n"
    skip: int = 1                   # records before the first data record, as DuckDB counts them
    quotes: int = 0                 # quote bytes in the file
    ended: bool = True              # the last line has a line end
    encoding: str = "utf-8"         # what the bytes were; compare with the declared encoding
    repairs: int = 0                # two-byte codes mapped by GB 18030-2022
    damaged: int = 0                # bytes that are no character
    nuls: int = 0
    rejects: tuple[tuple[int, str], ...] = ()              # office rows wider than the header

    @property
    def name(self) -> str:
        """How messages call the unit."""
        return f"file {self.file}" + (f" (sheet {self.number})" if self.office else "")


@dataclass(frozen=True)
class Reading:
    """Where every physical line of a unit went.

    `by` is 'records' (record ordinal = rowid + 1 of the created table) or 'lines' (record ordinal = column `_line`,
    the physical line number less header lines). `rejects` lists (ordinal, reason) of what could not be parsed;
    reasons: width, quote, encoding, nul, cut.
    """

    records: int
    header: int
    blank: int
    trailer: int
    inner_line_ends: int
    unparseable: int
    lines: int
    by: str
    rejects: list[tuple[int, str]]

    @property
    def closes(self) -> bool:
        """physical lines = header + trailer + blank + records + line ends inside values + unparseable."""
        return self.lines == (self.header + self.trailer + self.blank + self.records
                              + self.inner_line_ends + self.unparseable)
