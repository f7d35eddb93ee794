"""The masks of a row: every rule is one bit of `_failed_n`, `_applied_n` and `_repaired_n`.

A term per rule, for all rows, took as long as standardising. So bits that hang on one condition are added at once; what only a cell with a reason can have is asked
of such cells only; and of columns whose cells are right as they stand, or missing, a few at a time, only what applies is asked.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.sql import name, text

if TYPE_CHECKING:
    from pipelines.compiler import Plan, PlannedRule

_TOGETHER = 8      # columns of a group: the more, the less often all of them are right
# A label for a code or a slash in a date is another accepted spelling: not standard form, but nothing was repaired.
SPELLED = ("code", "currency", "date", "end_date", "long_term", "money", "month", "timestamp")

Waived = Mapping[str, bool]
"""Rule → whether it is waived for single keys only; these stand in the table `waiver_keys`(rule, key) of the connection."""


@dataclass(frozen=True)
class _Group:
    """Columns whose cells are mostly right as they stand, or missing where they may be: then no rule of theirs fails, and the cells tell which apply."""

    name: str
    columns: tuple[str, ...]
    required: frozenset[str]

    @property
    def right(self) -> str:
        """SQL BOOLEAN, never NULL, with its name."""
        each = [f"{name(c + '__k')}" if c in self.required else f"({name(c + '__k')} OR {name(c + '__c')} IS NULL)" for c in self.columns]
        return f"_op = 'U' AND {' AND '.join(each)} AS {self.name}"

    def applied(self, rules: Sequence[PlannedRule]) -> str:
        """SQL of the bits of `rules` that apply to a right row."""
        bits = {c: sum(1 << r.bit for r in rules if r.column == c) for c in self.columns}
        always = sum(n for c, n in bits.items() if c in self.required)
        return " + ".join([str(always), *(f"({name(c + '__k')})::BIGINT * {n}" for c, n in bits.items() if n and c not in self.required)])


def groups(plan: Plan) -> list[_Group]:
    """The columns whose type tells at the first look what is right. Dates and codes, which are spelled in many ways, are apart from the others."""
    told = [(c, plan.type(c.name)) for c in plan.dataset.columns if plan.type(c.name).plain_sql]
    found = []
    for spelled in (False, True):
        columns = [c for c, kind in told if (kind.name in SPELLED) == spelled]
        for few in (columns[i:i + _TOGETHER] for i in range(0, len(columns), _TOGETHER)):
            found.append(_Group(f"_right_{len(found)}", tuple(c.name for c in few), frozenset(c.name for c in few if c.required)))
    return found


def masks(plan: Plan, of: Sequence[_Group], waived: Waived) -> list[str]:
    """SQL of every mask column, with its name.

    Args:
        plan: the dataset's plan.
        of: its `groups`, whose `right` is a column beside those of `standardise`.
        waived: rules whose failing rows are counted as waived; then there is `_waived_n`.
    """
    kinds = ("failed", "applied", "repaired", *(["waived"] if waived else []))
    return [_mask(plan, index, kind, of, waived) for index in range(plan.masks) for kind in kinds]


def _mask(plan: Plan, index: int, kind: str, of: Sequence[_Group], waived: Waived) -> str:
    mine = [r for r in plan.rules if r.mask == index and getattr(r, kind, "true") != "false" and (kind != "waived" or r.rule in waived)]
    parts = []
    for group in of:
        own = [r for r in mine if r.column in group.columns and (kind == "applied" or _told(plan, r))]
        if own:
            parts.append(f"CASE WHEN {group.name} THEN {group.applied(own) if kind == 'applied' else 0} ELSE {_terms(plan, own, kind, waived)} END")
        mine = [r for r in mine if r not in own]
    return f"({' + '.join([*parts, _terms(plan, mine, kind, waived)])})::BIGINT AS _{kind}_{index}"


def _told(plan: Plan, rule: PlannedRule) -> bool:
    """True when a cell that is right at the first look cannot fail the rule: it may still be spelled in another form than the standard's."""
    return rule.reason != "form" or plan.type(rule.column).plain_form


def _terms(plan: Plan, rules: Sequence[PlannedRule], kind: str, waived: Waived) -> str:
    """SQL of the bits of these rules, added up."""
    terms: dict[str | None, dict[str, int]] = {}
    for rule in rules:
        condition = holds(plan, rule, kind, waived)
        asked = name(f"{rule.column}__x") if rule.reason not in (None, "required", "form") and kind != "applied" else None
        bits = terms.setdefault(asked, {})
        bits[condition] = bits.get(condition, 0) | 1 << rule.bit
    added = {asked: " + ".join(f"({condition})::BIGINT * {bit}" for condition, bit in bits.items()) for asked, bits in terms.items()}
    return " + ".join(sql if asked is None else f"CASE WHEN {asked} IS NOT NULL THEN {sql} ELSE 0 END" for asked, sql in added.items()) or "0"


def covered(rule: str, waived: Waived) -> str:
    """SQL BOOLEAN, never NULL: this row is one that the waiver of `rule` is for."""
    if rule not in waived:
        return "false"
    return f"coalesce(_waiver_key IN (SELECT key FROM waiver_keys WHERE rule = {text(rule)}), false)" if waived[rule] else "true"


def holds(plan: Plan, rule: PlannedRule, kind: str, waived: Waived) -> str:
    """SQL BOOLEAN, never NULL, of one bit; `kind`: failed, applied, repaired or waived. A row without its key cannot be kept, whatever is waived."""
    applied = f"coalesce({rule.applied}, false)"
    if rule.rule not in waived:
        return applied if kind == "applied" else f"{applied} AND coalesce({getattr(rule, kind)}, false)"
    keeps = f"{covered(rule.rule, waived)}{' AND _key IS NOT NULL' if rule.column in plan.dataset.key else ''}"
    spared = f"(coalesce({rule.failed}, false) AND {keeps})"
    return {"applied": f"{applied} AND NOT {spared}", "failed": f"{applied} AND coalesce({rule.failed}, false) AND NOT {spared}",
            "repaired": f"{applied} AND coalesce({rule.repaired}, false)", "waived": f"{applied} AND {spared}"}[kind]
