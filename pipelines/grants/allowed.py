"""What a role may be given of a dataset: columns beyond the default file, each with its mask, and whether they show too much together.

Roles: `analyst` (as in the default file, fewer columns or rows), `analyst_pii` (personal columns, masked), `case_officer` (sensitive codes
as well, of named persons only). A mask is judged with everything the default file gives: whoever holds a grant holds that too.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipelines import masks
from pipelines.compiler import Plan
from pipelines.contract import CLASSIFICATIONS
from pipelines.masks import PublishedColumn
from pipelines.settings import WrongUse
from pipelines.sql import name

FEWEST_CANDIDATES = 10      # identity numbers that fit what a grant and the default file give together of one person
PERSONS_OF_A_CASE = 20


@dataclass(frozen=True)
class Role:
    """Who may be given what. `most`: the highest classification. `persons_only`: rows of persons named by pseudonym, nothing in bulk."""

    zh: str
    en: str
    most: str
    persons_only: bool = False


ROLES = {
    "analyst": Role("分析员", "the columns of the default file, for fewer people", "internal"),
    "analyst_pii": Role("个人信息分析员", "personal columns too, masked", "personal"),
    "case_officer": Role("办案人员", "sensitive codes too, of persons named by pseudonym", "sensitive", persons_only=True),
}


@dataclass(frozen=True)
class GrantMask:
    """How a grant shows a column that the default file hides. `ending`: of the name; `subject` and `positions`: what it tells of an identity number."""

    zh: str
    en: str
    sql: str
    physical: str | None = None
    ending: str = ""
    subject: str | None = None
    positions: frozenset[int] = frozenset()


_LAST_FOUR = frozenset({15, 16, 17, 18})
_DATE = GrantMask("确切日期", "exact date", "{column}", subject="birth", positions=frozenset(range(7, 15)))
_PHONE = GrantMask("前三后四", "first three and last four digits", "masked_phone({column})")
GRANT_MASKS = {
    "person_name": GrantMask("只留姓", "surname only", "masked_name({column})"),
    "resident_id": GrantMask("后四位", "last four digits", "last_four({column})", ending="_last4", subject="identifier", positions=_LAST_FOUR),
    "document_number": GrantMask("后四位", "last four characters", "last_four({column})", ending="_last4", subject="identifier", positions=_LAST_FOUR),
    "opaque_id": GrantMask("后四位", "last four characters", "last_four({column})", ending="_last4"),
    "date": _DATE, "end_date": _DATE, "mobile": _PHONE, "phone": _PHONE,
    "address": GrantMask("截至乡镇街道", "down to the township", "masked_address({column})"),
}
_SENSITIVE = {"code": GrantMask("原值", "as it is", "{column}")}


def offered(plan: Plan, role: str) -> dict[str, PublishedColumn]:
    """Name → column of everything `role` may be given of a dataset."""
    found = {c.name: c for c in masks.published(plan)}
    most = CLASSIFICATIONS.index(ROLES[role].most)
    for column in plan.dataset.columns:
        kind = plan.type(column.name)
        level = CLASSIFICATIONS.index(column.strictest)
        mask = (_SENSITIVE if column.strictest == "sensitive" else GRANT_MASKS).get(kind.name)
        if mask is None or level > most or level < CLASSIFICATIONS.index("personal"):
            continue
        output = f"{column.name}{mask.ending}"
        if output not in found:
            found[output] = PublishedColumn(output, column.name, f"{column.zh}（{mask.zh}）", f"{column.en} ({mask.en})", mask.physical or kind.physical, column.strictest,
                                            "grant", mask.sql.format(column=name(column.name)))
    return found


def chosen(plan: Plan, role: str, wanted: Iterable[str]) -> tuple[PublishedColumn, ...]:
    """The columns of one dataset that a grant names: `column`, or `domain.dataset.column` for this dataset alone.

    Raises:
        WrongUse: a column named for this dataset is not offered to the role; the message lists what is.
    """
    given, found = offered(plan, role), []
    for one in wanted:
        dataset, _, column = one.rpartition(".")
        if dataset in ("", plan.dataset.id):
            if column in given:
                found.append(given[column])
            elif dataset:
                raise WrongUse(f"{plan.dataset.id} offers the role {role} no column {column!r}; it offers {', '.join(given)}.")
    if not found:
        raise WrongUse(f"{plan.dataset.id} has none of the columns for the role {role}; it offers {', '.join(given)}.")
    return tuple(dict.fromkeys(found))


def chosen_of(plans: Sequence[Plan], role: str, wanted: Sequence[str]) -> list[tuple[PublishedColumn, ...]]:
    """`chosen` of every dataset of a grant.

    Raises:
        WrongUse: one of them has none of the columns, or a column is offered by none of them.
    """
    found = [chosen(plan, role, wanted) for plan in plans]
    given = {name for plan, columns in zip(plans, found) for c in columns for name in (c.name, f"{plan.dataset.id}.{c.name}")}
    lost = [w for w in wanted if w not in given]
    if lost:
        raise WrongUse(f"No dataset of the grant offers the role {role} {', '.join(lost)}. Offered: "
                       + "; ".join(f"{plan.dataset.id}: {', '.join(offered(plan, role))}" for plan in plans))
    return found


def is_pseudonym(column: PublishedColumn) -> bool:
    """True for a column that a grant shows under its own key."""
    return column.mask == "pseudonym" or column.name == "_key"


def known_positions(plan: Plan, columns: Iterable[PublishedColumn]) -> frozenset[int]:
    """Positions of an identity number (GB 11643-1999) that these columns and the default file give away together."""
    known, _ = masks.revealed(plan)
    for column in columns:
        mask = GRANT_MASKS.get(plan.type(column.source_column).name) if column.mask == "grant" else None
        if mask and mask.subject and (mask.subject != "birth" or "birth" in column.source_column):
            known |= mask.positions
    return known


def judge(known: Iterable[frozenset[int]]) -> None:
    """Refuse columns from which an identity number could be rebuilt.

    Args:
        known: per dataset, what its columns give away; persons join across the datasets of a grant.

    Raises:
        WrongUse: fewer than `FEWEST_CANDIDATES` numbers fit.
    """
    together = frozenset().union(*known)
    left = masks.candidates(together)
    if left < FEWEST_CANDIDATES:
        raise WrongUse(f"An identity number could be rebuilt from these columns and the default file: {left} candidates are left, at least {FEWEST_CANDIDATES} are required. "
                       "Leave out the last four digits or the exact birth date; another grant for the same request or group counts as well.")
