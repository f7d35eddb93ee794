"""What reading hands on: `Unit` (one table inside a batch), `Reading` (its line balance), `ReadRefused`."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.counts import Counts
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
class Member:
    """One file to read: a submitted file, or one inside a submitted archive."""

    file: int                       # number in the landing manifest
    number: int                     # place in its archive; 0: the submitted file itself
    path: Path                      # in landing or in scratch; never the name the department gave it
    sha256: str
    counts: Counts

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"File {self.file}" + (f" (member {self.number})" if self.number else "")


@dataclass(frozen=True)
class Unit:
    """One table inside a batch: a text file, a sheet or a list of records, in a form DuckDB reads.

    `lines`, `blank`, `header_lines` and `trailer` come from the bytes (for extracted forms: from the extractor).
    """

    number: int                     # `_file` of its rows
    file: int                       # number of the file in the landing manifest
    header: tuple[str, ...]         # header cells as submitted
    path: Path                      # UTF-8 text in place or in scratch, or Parquet
    lines: int
    blank: int
    header_lines: int
    form: str = "delimited"         # delimited, fixed; jsonl, json, xml, dbf, xlsx, xls, ods, parquet
    member_number: int = 0          # place in the archive it came in
    header_blank: int = 0           # empty lines before or inside the header
    trailer: int = 0
    expected: int | None = None     # records, as the trailer says
    member: str | None = field(default=None, repr=False)   # sheet name, which may hold personal data
    header_row: int = 1             # 0: the contract gives the header
    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    widths: tuple[int, ...] = ()    # of fixed-width columns, in bytes
    line_end: str = "\n"
    skip: int = 1                   # records before the first data record, as DuckDB counts them
    quotes: int = 0                 # quote bytes in the file
    ended: bool = True              # the last line has a line end
    encoding: str = "utf-8"         # what the bytes were; compare with the declared encoding
    repairs: int = 0                # private-use characters mapped by GB 18030-2022
    damaged: int = 0                # bytes that are no character
    nuls: int = 0
    evidence: str = ""              # how form, encoding, dialect and header were found; no submitted text
    rejects: tuple[tuple[int, str], ...] = ()              # records that the extractor could not take

    @property
    def text(self) -> bool:
        """Whether its lines are read by DuckDB, not extracted."""
        return self.form in ("delimited", "fixed")

    @property
    def name(self) -> str:
        """How messages call the unit."""
        return f"file {self.file}" + (f" (member {self.member_number})" if self.member_number else "") + (
            f" (sheet {self.number})" if self.member is not None else "")


@dataclass(frozen=True)
class Reading:
    """Where every physical line of a unit went.

    `by` is 'records' (record ordinal = rowid + 1 of the created table) or 'lines' (record ordinal = column `_line`,
    the physical line number less header lines). `rejects` lists (ordinal, reason) of what could not be parsed;
    reasons: width, quote, encoding, nul, cut, json, repeat.
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
    spans: Mapping[int, int] = field(default_factory=dict)     # ordinal of a reject → its physical lines, where it has several

    @property
    def found(self) -> int:
        """Records that are there, whether they could be read or not."""
        return self.records + len(self.rejects)

    @property
    def closes(self) -> bool:
        """physical lines = header + trailer + blank + records + line ends inside values + unparseable."""
        return self.lines == (self.header + self.trailer + self.blank + self.records
                              + self.inner_line_ends + self.unparseable)
