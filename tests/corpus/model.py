"""A case, and the valid rows that cases are made of."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support import HEADER, resident_id

SECRET = "机密张三丰"      # stands in file names and header cells; no message may hold it
Row = tuple[str, ...]
Bad = tuple[int, tuple[str, ...]]
Files = dict[str, bytes] | Callable[[], dict[str, bytes]]      # name → content; what is costly to make is made when it is asked for


@dataclass(frozen=True)
class Case:
    """Files and what must come of them.

    `good` are the accepted rows in the order of file and record: identity number, name, birth date, division, status
    and 'D' for a deletion. `bad` are the quarantined addresses of file 1 (or (file, ordinal)) with their rules.
    `counts` are those of counts.json that the case is about.
    """

    form: str
    fault: str
    files: Files = field(repr=False)
    source: dict[str, Any] = field(default_factory=dict, repr=False)
    outcome: str = "loaded"
    code: str | None = None
    good: Sequence[Row] = field(default=(), repr=False)
    bad: Sequence[Bad] = field(default=(), repr=False)
    counts: dict[str, Any] = field(default_factory=dict, repr=False)
    tamper: bool = False        # the file in landing is changed after it was received

    @property
    def id(self) -> str:
        return f"{self.form}-{self.fault}"

    def build(self) -> dict[str, bytes]:
        """The files, name → content."""
        return self.files() if callable(self.files) else self.files


def loaded(form: str, fault: str, files: Files, good: Sequence[Row], bad: Sequence[Bad] = (),
           source: dict[str, Any] | None = None, **counts: Any) -> Case:
    """A case that is read: every row is accepted or quarantined."""
    return Case(form, fault, files, source or {}, "quarantined" if bad else "loaded", None, expected(good), bad, counts)


def refused(form: str, fault: str, files: Files, code: str, source: dict[str, Any] | None = None,
            tamper: bool = False) -> Case:
    """A case that is not read."""
    return Case(form, fault, files, source or {}, "refused", code, tamper=tamper)


NAMES = ("赵一", "钱二", "孙小三", "李四", "欧阳五", "阿依古丽·买买提", "王六", "周七")
RARE = "䶮𠮷"      # U+4DAE and U+20BB7: legal in names; four bytes in GB 18030


def row(number: int, name: str | None = None, status: str = "有效", op: str = "", birth: str = "1990-01-01",
        region: str = "640104") -> Row:
    """A valid row of the residence dataset, as sent; `number` makes the person."""
    return (resident_id(number), name or NAMES[number % len(NAMES)], birth, region, status, op)


def table(rows: int = 6, rare: bool = False) -> list[Row]:
    """`rows` valid rows; with `rare`, the last person's name needs four bytes in GB 18030."""
    made = [row(n) for n in range(1, rows + 1)]
    return made[:-1] + [row(rows, RARE)] if rare else made


def expected(rows: Sequence[Row]) -> list[Row]:
    """Valid rows as they are accepted."""
    return [(*r[:5], "D" if r[5] else "U") for r in rows]


def wrong_digit(number: str) -> str:
    """An identity number whose check character is wrong."""
    return number[:-1] + ("1" if number[-1] != "1" else "2")


__all__ = ["HEADER", "NAMES", "RARE", "SECRET", "Bad", "Case", "Files", "Row", "expected", "loaded", "refused", "row", "table", "wrong_digit"]
