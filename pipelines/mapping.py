"""From the header of a file to the columns of a contract: by the spellings that the contract accepts, and by nothing else."""
from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from pipelines.contract import Dataset, Source
from pipelines.readers import heading
from pipelines.settings import WrongUse
from pipelines.sql import text


class HeaderMismatch(WrongUse):
    """A file's header does not fit the contract. `code`: missing_column or ambiguous_column."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} [{code}]")
        self.code = code


@dataclass(frozen=True)
class HeaderMap:
    """What the cells of one header are: column → SQL of its text, SQL of the operation, and what is left over.

    `unread`: positions (from 1) of header cells that nothing reads. `absent`: contract columns that are not there.
    """

    cells: dict[str, str]
    op: str | None
    unread: list[int]
    absent: list[str]


def spellings(dataset: Dataset, source: Source) -> dict[str, list[str]]:
    """Column → header cells by which it is known, for every column that a file of this source may hold."""
    extra, fixed = dict(source.aliases), dict(source.constants)
    return {c.name: [*extra.get(c.name, ()), c.name, c.zh, *c.aliases]
            for c in dataset.columns if c.name not in fixed and c.name not in source.not_sent}


def map_header(dataset: Dataset, source: Source, header: tuple[str, ...], what: str) -> HeaderMap:
    """Map the header of one file to columns.

    Args:
        what: how messages call the file.

    Raises:
        HeaderMismatch: a required column is missing or two header cells fit one column. Unknown header cells are named
            by position, and quoted only where they resemble an accepted spelling: a header may hold personal data.
    """
    found: dict[str, str] = {c: text(v) for c, v in source.constants}
    positions: dict[str, list[int]] = {}
    for i, cell in enumerate(header):
        positions.setdefault(heading.key(cell), []).append(i)
    used: set[int] = set()
    spelled = spellings(dataset, source)
    hits = {c: sorted({i for s in words for i in positions.get(heading.key(s), ())}) for c, words in spelled.items()}
    double = [f"{c} fits header cells {', '.join(str(i + 1) for i in at)}" for c, at in hits.items() if len(at) > 1]
    found |= {c: f"c{at[0]}" for c, at in hits.items() if len(at) == 1}
    used |= {i for at in hits.values() for i in at}
    ops = [i for s in dataset.op for i in positions.get(heading.key(s), ())]
    used |= set(ops[:1]) | {i for s in source.ignore for i in positions.get(heading.key(s), ())}
    unread = [i for i in range(len(header)) if i not in used]
    absent = [c for c, at in hits.items() if not at]
    missing = [f"required column {c} ({dataset.column(c).zh}) is missing; {_nearest(spelled[c], header, unread)}"
               for c in absent if dataset.column(c).required]
    if missing or double:
        known = ", ".join(c for c in hits if c in found) or "none"
        raise HeaderMismatch("missing_column" if missing else "ambiguous_column", (
            f"{what}: {'; '.join(missing + double)}. Recognised columns: {known}; header cells that nothing reads: "
            f"{', '.join(str(i + 1) for i in unread) or 'none'} (their text is in landing). Add the spelling to the contract's "
            "aliases and run ingest again, or ask for the file with the agreed header."))
    return HeaderMap(found, f"c{ops[0]}" if ops else None, [i + 1 for i in unread], absent)


def _nearest(spelled: list[str], header: tuple[str, ...], unread: list[int]) -> str:
    """The unread header cell that resembles an accepted spelling most, and what is accepted."""
    scored = [(difflib.SequenceMatcher(None, heading.key(header[i]), heading.key(s)).ratio(), i) for i in unread for s in spelled
              if len(header[i]) <= 40]
    ratio, at = max(scored, default=(0.0, 0))
    nearest = f"nearest is header cell {at + 1} {header[at]!r}; " if ratio >= 0.6 and not re.search(r"\d{4}", header[at]) else ""
    return f"{nearest}accepted: {', '.join(spelled)}"
