"""How a text file is written: delimiter, quote, escape and header, told from its first lines and from the contract.

A delimiter is right when it cuts the header into the most columns that the contract names; without any named column,
when it cuts the most lines into equally many cells. What the contract declares is not questioned. Nothing here decides
about rows: a wrong guess shows as unparseable lines, never as lost ones.
"""
from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.readers import heading
from pipelines.readers.heading import Heading, Spelled
from pipelines.readers.marks import SEPARATOR
from pipelines.readers.model import MAX_COLUMNS, ReadRefused

SAMPLE_LINES = 200
USUAL = (",", "\t", "|", ";", "^", "\x01", "~", "#", "，", "、")
ESCAPE = "\\"
_RUN = re.compile(r"[^\w\s,;\"'(){}\[\]<>.:/\\（）=-]{2,4}")


@dataclass(frozen=True)
class Dialect:
    """How cells are told apart. `escape` equal to `quote`: a quote inside a value is doubled."""

    delimiter: str
    quote: str
    escape: str


@dataclass(frozen=True)
class Found:
    """A dialect, the header under it, and what both stand on.

    `records`: rows up to and with the header as a reader counts them; `physical`: their lines; `empty`: empty ones of these.
    """

    dialect: Dialect
    header: tuple[str, ...]
    records: int
    physical: int
    empty: int
    evidence: str


def find(lines: Sequence[str], source: Any, spelled: Spelled, what: str) -> Found:
    """The dialect and header of a text file.

    Args:
        lines: its first physical lines, with their ends.
        source: the `contract.Source`; its delimiter, quote, escape and header bind where they are given.
        spelled: the accepted spellings of the contract's columns.
        what: how messages call the file.

    Raises:
        ReadRefused: header, columns, delimiter.
    """
    lines = lines[:SAMPLE_LINES]
    guesses = [(delimiter, quote) for quote in _quotes(lines, source) for delimiter in _delimiters(lines, source, quote)]
    delimiter, quote = guesses[0] if len(guesses) == 1 else max(guesses, key=lambda g: _score(lines, Dialect(*g, g[1]), source, spelled))
    escape = _escape(lines, delimiter, quote, source)
    dialect = Dialect(delimiter, quote, escape)
    if source.header:
        return Found(dialect, source.header, 0, 0, 0, f"{_said(dialect)}; the contract gives the header")
    rows = list(_rows(lines, dialect, heading.ROWS))
    if max((len(cells) for cells, _ in rows), default=0) > MAX_COLUMNS:
        raise ReadRefused("columns", f"{what}: a header wider than {MAX_COLUMNS:,} columns. Is the delimiter right?")
    found = heading.find([cells for cells, _ in rows], spelled)
    if found is None:
        raise ReadRefused("header", f"{what}: no header among the first {min(len(lines), heading.ROWS)} lines.")
    if found.doubtful is not None:
        raise ReadRefused("header", f"{what}: row {found.doubtful + 1} stands above the header in row {found.row + 1} and looks like a record. "
                                    "Ask for the header in the first row, or declare header: and have it left out.")
    if _unclosed(lines[rows[found.row - 1][1] if found.row else 0:rows[found.row][1]], dialect):
        raise ReadRefused("header", f"{what}: the header cannot be parsed: a quote in it is not closed, or is followed by text.")
    if spelled and len(spelled) > 1 and len(found.cells) == 1 and source.delimiter is None:
        raise ReadRefused("delimiter", f"{what}: no delimiter cuts the header into columns of the contract. Declare delimiter:, "
                                       "or widths: for fixed width, or header: when the file has none.")
    physical = rows[found.row][1]
    empty = sum(not line.strip("\r\n") for line in lines[:physical])
    return Found(dialect, found.cells, found.row + 1, physical, empty, f"{_said(dialect)}; {_told(found)}")


def _said(dialect: Dialect) -> str:
    quote = {'"': "double quotes", "'": "single quotes", "": "no quotes"}.get(dialect.quote, "own quotes")
    return f"delimiter {dialect.delimiter!r}, {quote}" + (", backslash escapes" if dialect.escape == ESCAPE else "")


def _told(found: Heading) -> str:
    return f"header in row {found.row + 1} names {found.known} columns of the contract"


def _delimiters(lines: Sequence[str], source: Any, quote: str) -> list[str]:
    """The delimiters to consider under one way of quoting; of those that are equally good the first is taken."""
    candidates = [source.delimiter] if source.delimiter is not None else _candidates(lines)
    return [d for d in candidates if d != quote]


def _candidates(lines: Sequence[str]) -> list[str]:
    """The usual delimiters that occur, and runs of signs that several lines share."""
    head = lines[:heading.ROWS]
    runs = Counter(run for line in head for run in set(_RUN.findall(line)) if len(run.encode()) <= 4)
    several = [run for run, times in runs.most_common(10) if times * 2 > len(head)]
    return [","] + [d for d in (*USUAL[1:], *several) if any(d in line for line in head)]


def _score(lines: Sequence[str], dialect: Dialect, source: Any, spelled: Spelled) -> tuple[int, int, int]:
    """(columns named, lines of the header's width when that is above 1, fewest cells)."""
    rows = [cells for cells, _ in _rows(lines, dialect)]
    if source.header:
        return 0, sum(len(cells) == len(source.header) for cells in rows), 0
    found = heading.find(rows, spelled)
    if found is None or len(found.cells) < 2:
        return 0, 0, 0
    width = len(found.cells)
    return found.known, sum(len(cells) == width for cells in rows[found.row:]), -width


def _quotes(lines: Sequence[str], source: Any) -> list[str]:
    """The ways of quoting to consider, the usual one first."""
    if source.quote is not None:
        return [source.quote]
    text = "".join(lines)
    return ['"', "'"] if text.count("'") > 2 * text.count('"') else ['"']


def _escape(lines: Sequence[str], delimiter: str, quote: str, source: Any) -> str:
    """How a quote inside a value is written: with a backslash when doubling it does not read the lines and that reads more."""
    if source.escape is not None or not quote:
        return source.escape or quote
    doubled, slashed = Dialect(delimiter, quote, quote), Dialect(delimiter, quote, ESCAPE)
    if not any(ESCAPE + quote in line for line in lines) or not _unclosed(lines, doubled):
        return quote
    widths = [Counter(len(cells) for cells, _ in _rows(lines, one) if cells) for one in (doubled, slashed)]
    both = sum(widths, Counter())
    width = max(both, key=lambda w: (all(found[w] for found in widths), w > 1, both[w]))      # the header's, which both read; broken rows are mostly of one cell
    right = [found[width] for found in widths]
    return ESCAPE if right[1] > right[0] or right[1] == right[0] and not _unclosed(lines, slashed) else quote


def _rows(lines: Sequence[str], dialect: Dialect, most: int = SAMPLE_LINES) -> list[tuple[list[str], int]]:
    """(cells, physical lines read so far) of the first rows; what cannot be parsed is split as it stands."""
    reader = _reader(lines, dialect, False)
    found: list[tuple[list[str], int]] = []
    try:
        for cells in reader:
            found.append(([c.replace(SEPARATOR, dialect.delimiter) for c in cells], reader.line_num))
            if len(found) == most:
                break
    except csv.Error:
        pass
    return found


def _unclosed(lines: Sequence[str], dialect: Dialect) -> bool:
    """Whether a strict reader refuses these lines."""
    try:
        for _ in _reader(lines, dialect, True):
            pass
    except csv.Error:
        return True
    return False


def _reader(lines: Sequence[str], dialect: Dialect, strict: bool) -> Any:
    doubled = dialect.escape != ESCAPE
    return csv.reader(((line.removeprefix("\ufeff") if not n else line).replace(dialect.delimiter, SEPARATOR) for n, line in enumerate(lines)),
                      delimiter=SEPARATOR, strict=strict, quotechar=dialect.quote or None, doublequote=doubled,
                      escapechar=None if doubled else ESCAPE, quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE)
