"""Which of the first rows is the header, judged by the contract. Standard library only: the extractor imports it too.

Departments put titles, units of measure and merged group headings above the header, and some leave blanks below a
vertically merged cell. So the header is the row that names the most columns of the contract, not the first one.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

ROWS = 20      # how far down a header is looked for

Spelled = Sequence[Sequence[str]]     # per column of the contract, the keys of its accepted spellings


@dataclass(frozen=True)
class Heading:
    """The header: the 0-based row it stands in, its cells, and how many columns of the contract they name.

    `doubtful`: the 0-based row above it that looks like a record, and would be lost as part of the header.
    """

    row: int
    cells: tuple[str, ...]
    known: int
    doubtful: int | None = None


def key(cell: str) -> str:
    """A header cell as it is compared: without blanks, BOM and zero-width marks, in one case."""
    return "".join(cell.split()).replace("\ufeff", "").replace("\u200b", "").casefold()


def known(cells: Sequence[str], spelled: Spelled) -> int:
    """How many columns of the contract these cells name."""
    found = {key(c) for c in cells}
    return sum(not found.isdisjoint(column) for column in spelled)


def find(rows: Sequence[Sequence[str]], spelled: Spelled) -> Heading | None:
    """The header among `rows`, the first ones of a table; None when all are empty.

    The first row that names the most columns wins; an empty cell below a merged one takes the text above it when that
    names more. When no row names any column, the first row of more than one filled cell is taken, else the first filled
    one, so that the message about missing columns can say what stands there.
    """
    best: Heading | None = None
    above: Sequence[str] = ()
    words = {word for column in spelled for word in column}
    for number, row in enumerate(rows[:ROWS]):
        plain = tuple(row)
        merged = tuple(cell.strip() and cell or (above[i] if i < len(above) else "") for i, cell in enumerate(row))
        for cells in (plain, merged) if merged != plain else (plain,):
            count = 0 if words.isdisjoint(map(key, cells)) else known(cells, spelled)
            if count and (best is None or count > best.known):
                best = Heading(number, cells, count)
        if best and best.known == len(spelled):
            break      # no row below can name more
        above = row
    if best:
        return replace(best, doubtful=_record_above(rows[:best.row], best, spelled))
    filled = [(number, row) for number, row in enumerate(rows[:ROWS]) if any(c.strip() for c in row)]
    wide = [(number, row) for number, row in filled if sum(bool(c.strip()) for c in row) > 1]
    first = (wide or filled)[:1]
    return Heading(first[0][0], tuple(first[0][1]), 0) if first else None


def _record_above(rows: Sequence[Sequence[str]], found: Heading, spelled: Spelled) -> int | None:
    """The first row above the header that is no title: it fills more than half as many cells, each with a text of its own,
    and names no columns. Merged headings repeat their text or leave blanks."""
    width = len({c for c in found.cells if c.strip()})
    for number, row in enumerate(rows):
        own = {c for c in row if c.strip()}
        if len(own) > max(1, width / 2 if width > 3 else width - 1) and known(row, spelled) < 2:
            return number
    return None
