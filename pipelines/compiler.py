"""Contract + rules → one SELECT: text in, typed columns and rule masks out.

The SELECT is a chain of layers, each naming the results of the one before, so that nothing is computed twice:
submitted text → cleaned → value → reason → repair → (key of waivers) → final columns → rules. Every rule is one bit of
`_failed_n`, `_applied_n`, `_repaired_n` (BIGINT NOT NULL, 62 rules a column); the bit positions belong to the
batch and are written beside it as `plan.json`.
"""
from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from types import MappingProxyType
from typing import Any

from pipelines import rule_bits
from pipelines.contract import Column, Dataset
from pipelines.rule_bits import SPELLED, Waived, covered
from pipelines.rules import AT_LEAST, Rule
from pipelines.semantics import SemanticType, semantic_type
from pipelines.semantics.model import SAME
from pipelines.settings import WrongUse
from pipelines.sql import name, text

BITS = 62
CONFLICT = "key.conflict"
SEGMENT = "_segment"      # what base replaces as one: a batch, or the baseline it was folded into
UNLISTED = "_unlisted"    # the codes of a row that their lists do not hold
DELETE_WORDS = ("D", "DELETE", "删除", "3")


@dataclass(frozen=True)
class PlannedRule:
    """One rule of a batch with its place in the masks and the SQL over the final layer. `field`: the column's Chinese and own name."""

    rule: str
    column: str | None
    reason: str | None
    zh: str
    en: str
    severity: str
    at_least: float
    on_breach: str
    indicator: str
    owner: str
    applied: str
    failed: str
    repaired: str
    mask: int = 0
    bit: int = 0
    field: str = ""
    new_values: str = ""      # of `<column>.code`, where codes outside the list are listed by themselves: hold or report
    definition: str = ""      # fingerprint of what the rule says: a false alarm stands until it changes

    def public(self) -> dict[str, Any]:
        """What stands in plan.json: everything but the SQL."""
        return {k: v for k, v in vars(self).items() if k not in ("applied", "failed", "repaired")}


def of_plan(make: Callable[[Plan], Any]) -> Any:
    """What follows from a plan alone and is asked again and again: made once for each plan."""
    @wraps(make)
    def found(plan: Plan) -> Any:
        if make not in plan.made:
            plan.made[make] = make(plan)
        return plan.made[make]
    return found


@dataclass(frozen=True)
class Plan:
    """Everything the engines need to know about one dataset under one contract."""

    dataset: Dataset
    types: tuple[tuple[str, SemanticType], ...]
    rules: tuple[PlannedRule, ...]
    business: tuple[Rule, ...]
    across: tuple[Rule, ...] = ()      # rules that read other datasets: judged on the release candidate, never on a batch

    @cached_property
    def made(self) -> dict[Any, Any]:
        """What `of_plan` made of it."""
        return {}

    @cached_property
    def _by_column(self) -> dict[str, SemanticType]:
        return dict(self.types)

    def type(self, column: str) -> SemanticType:
        return self._by_column[column]

    @property
    def windowed(self) -> bool:
        """True when a business rule compares the rows of a batch with each other."""
        return any(re.search(r"\bover\s*\(", f"{r.holds} {r.when}", re.IGNORECASE) for r in self.business)

    @property
    def masks(self) -> int:
        """How many mask columns of each kind there are."""
        return len(self.rules) // BITS + (len(self.rules) % BITS > 0)

    @property
    def pseudonyms(self) -> tuple[tuple[str, str, str], ...]:
        """(column, published pseudonym column, kind) of every identifier that has a pseudonym."""
        return tuple((c.name, pseudonym_name(c), self.type(c.name).pseudonym_kind)
                     for c in self.dataset.columns if self.type(c.name).pseudonym_kind)

    def physical(self) -> list[tuple[str, str]]:
        """(name, DuckDB type) of every column of the base table, in order."""
        typed = [(c.name, self.type(c.name).physical) for c in self.dataset.columns]
        pseudonyms = [(p, "VARCHAR") for _, p, _ in self.pseudonyms]
        return typed + pseudonyms + [("_key", "VARCHAR"), ("_batch", "VARCHAR"), ("_file", "INTEGER"),
                                     ("_ordinal", "BIGINT"), ("_op", "VARCHAR")]

    def stored(self) -> list[tuple[str, str]]:
        """`physical` and the segment, as base keeps them."""
        return [*self.physical(), (SEGMENT, "VARCHAR")]

    def reject_masks(self) -> list[int]:
        """Per mask column, the bits whose rules send a row to quarantine."""
        found = [0] * self.masks
        for rule in self.rules:
            if rule.severity == "reject":
                found[rule.mask] |= 1 << rule.bit
        return found


def pseudonym_name(column: Column) -> str:
    """The published name of an identifier's pseudonym: `id_number` → `person_id`, `x_id_number` → `x_person_id`."""
    if column.pseudonym:
        return column.pseudonym
    stem = column.name.removesuffix("id_number").removesuffix("id_no")
    return f"{stem}person_id" if stem != column.name else f"{column.name}_pseudonym"


def plan(dataset: Dataset, declared: tuple[Rule, ...]) -> Plan:
    """Lay out the rules of `dataset`: those its types, keys and required columns imply, then its business rules.

    Args:
        declared: its declared rules; those that read other datasets are set apart.

    Raises:
        WrongUse: a column names an unknown semantic type.
    """
    types, errors = [], []
    for column in dataset.columns:
        try:
            types.append((column.name, semantic_type(column.type)))
        except ValueError as error:
            errors.append(f"{dataset.id}: column {column.name}: {error}")
    if errors:
        raise WrongUse("\n".join(errors))
    owner = dataset.sources[0].department
    found: list[PlannedRule] = []
    for column, (_, kind) in zip(dataset.columns, types):
        found += _column_rules(column, kind, owner)
    if dataset.identity:
        found.append(_conflict_rule(dataset, owner))
    business = tuple(rule for rule in declared if not rule.reads)
    found += [_business_rule(rule) for rule in business]
    said = {column: repr(kind) for column, kind in types}
    placed = tuple(replace(r, mask=i // BITS, bit=i % BITS, definition=_definition(r, said.get(r.column))) for i, r in enumerate(found))
    return Plan(dataset, tuple(types), placed, business, tuple(rule for rule in declared if rule.reads))


def _definition(rule: PlannedRule, kind: str | None) -> str:
    said = (rule.applied, rule.failed, rule.severity, rule.at_least, kind)
    return hashlib.sha256("\x1f".join(map(str, said)).encode()).hexdigest()[:16]


def _column_rules(column: Column, kind: SemanticType, owner: str) -> list[PlannedRule]:
    c = column.name
    kept = "_op = 'U'" if not column.primary_key else "true"
    sent = f"{name(c + '__sent')} AND {kept}"
    threshold = column.at_least if column.at_least is not None else AT_LEAST[column.severity]
    breach = "report" if column.severity == "warn" else "hold"
    common = {"column": c, "severity": column.severity, "at_least": threshold, "on_breach": breach, "owner": owner, "field": f"{column.zh} {c}"}
    cleaned, reason, fixed = name(c + "__c"), name(c + "__x"), name(c + "__p")
    watched = column.new_values if kind.name == "code" and column.strictest != "sensitive" else ""
    found = []
    if column.required:
        found.append(PlannedRule(rule=f"{c}.required", reason="required", zh=f"{column.zh}已填写",
                                 en=f"{column.name} is filled in", indicator="0201", applied=sent,
                                 failed=f"{cleaned} IS NULL", repaired="false", **common))
    for check in kind.checks:
        hit = f"{reason} = {text(check.reason)}"
        found.append(PlannedRule(
            rule=f"{c}.{check.reason}", reason=check.reason, zh=check.zh.format(column=column.zh),
            en=check.en.format(column=column.name), indicator=check.indicator,
            applied=f"{sent} AND {cleaned} IS NOT NULL", failed=f"{hit} AND {fixed} IS NULL",
            repaired=f"{hit} AND {fixed} IS NOT NULL", new_values=watched if check.reason == "code" else "", **common))
    if kind.form("x", "y") is not None:
        off = f"NOT coalesce({kind.form(name(c + '__r'), name(c))}, true)"
        if kind.plain_sql and kind.plain_form and kind.form("x", "y") != SAME.format(raw="x", value="y"):
            off = f"CASE WHEN {name(c + '__k')} THEN false ELSE {off} END"
        found.append(PlannedRule(
            rule=f"{c}.form", reason="form", zh=f"{column.zh}按标准形式填报", en=f"{column.name} is submitted in standard form",
            indicator="0101", applied=f"{sent} AND {name(c)} IS NOT NULL", failed=off,
            repaired="false" if kind.name in SPELLED else off,
            **{**common, "severity": "warn", "at_least": 0.9, "on_breach": "report"}))
    return found


def _conflict_rule(dataset: Dataset, owner: str) -> PlannedRule:
    keys, same = "、".join(dataset.column(k).zh for k in dataset.key), "、".join(dataset.column(k).zh for k in dataset.identity)
    return PlannedRule(
        rule=CONFLICT, column=None, reason="conflict", zh=f"同一{keys}的{same}一致",
        en=f"rows of one {', '.join(dataset.key)} agree in {', '.join(dataset.identity)}", severity="reject",
        at_least=AT_LEAST["reject"], on_breach="hold", indicator="0304", owner=owner,
        applied="_key IS NOT NULL", failed="false", repaired="false")


def _business_rule(rule: Rule) -> PlannedRule:
    applied = f"_op = 'U' AND coalesce(({rule.when}), false)" if rule.when else "_op = 'U'"
    return PlannedRule(
        rule=rule.rule, column=None, reason=None, zh=rule.zh, en=rule.en, severity=rule.severity, at_least=rule.at_least,
        on_breach=rule.on_breach, indicator=rule.indicator, owner=rule.owner, applied=applied,
        failed=f"NOT coalesce(({rule.holds}), false)", repaired="false")


def standardise(plan: Plan, cells: dict[str, str], op: str | None, from_sql: str, as_of: str, ordinal: str, waived: Waived = MappingProxyType({})) -> str:
    """The layers from submitted text to final columns.

    Args:
        plan: the dataset's plan.
        cells: column → SQL expression of its submitted text in `from_sql` (absent = not sent).
        op: SQL expression of the operation's text, or None when every row is an update.
        from_sql: a FROM item.
        as_of: SQL DATE at which births, regions and codes are judged: the batch date.
        ordinal: SQL expression of the record ordinal, kept as `_ordinal` (NULL: the row's position is used).
        waived: rules whose failing values are kept; give `judge` the same.

    Returns:
        A SELECT yielding per column its value, `__r` submitted, `__k` plain (right as it stands), `__c` cleaned, `__x` reason, `__p` repair and
        `__sent`, and `_op`, `_ordinal`, `_batch_date`; `_waiver_key` where a waiver is for single keys.
    """
    layers: list[list[str]] = [[], [], [], [], [], [], [], []]
    for column in plan.dataset.columns:
        kind, c = plan.type(column.name), column.name
        raw, plain, cleaned, value, reason, fixed = (name(f"{c}__{s}") for s in "rkcvxp")
        layers[0].append(f"{cells.get(c, 'NULL::VARCHAR')} AS {raw}, {str(c in cells).lower()} AS {name(c + '__sent')}")
        layers[1].append(f"{kind.plain(raw, '_batch_date')} AS {plain}")
        layers[2].append(f"{_cleaned(kind, column, raw, plain)} AS {cleaned}")
        layers[3].append(f"{_value(kind, raw, plain, cleaned)} AS {value}")
        layers[4].append(f"CASE WHEN NOT {plain} AND {cleaned} IS NOT NULL THEN {kind.reason(cleaned, value, '_batch_date')} END AS {reason}")
        repair = kind.repair(cleaned, reason, "_batch_date")
        fix = f"CASE WHEN {reason} IS NOT NULL THEN {repair} END" if repair else "NULL"
        layers[5].append(f"({fix})::{kind.physical} AS {fixed}")
        layers[7].append(f"CASE WHEN {reason} IS NULL THEN {value}::{kind.physical} {_kept(plan, column, waived)}ELSE {fixed} END AS {name(c)}")
    if any(waived.values()):
        layers[6].append(f"{key_digest(plan, {k: _meant(plan, k) for k in plan.dataset.key})} AS _waiver_key")
    deletes = ", ".join(text(w) for w in DELETE_WORDS)
    op_sql = f"CASE WHEN upper(trim({op})) IN ({deletes}) THEN 'D' ELSE 'U' END" if op else "'U'"
    sql = f"SELECT {', '.join(layers[0])}, {op_sql} AS _op, {ordinal} AS _line, {as_of} AS _batch_date FROM {from_sql}"
    for layer in filter(None, layers[1:]):
        sql = f"SELECT *, {', '.join(layer)} FROM ({sql})"
    return sql


def _cleaned(kind: SemanticType, column: Column, raw: str, plain: str) -> str:
    """SQL of a cell's cleaned text. Most cells are right as they stand or empty, and neither is worked on."""
    sent = "true" if "" in column.keep_words else f"{raw} <> ''"
    rest = f"WHEN {sent} THEN {kind.clean(raw, column.keep_words)} END"
    return f"CASE WHEN {plain} THEN {raw} {rest}" if kind.plain_sql else f"CASE {rest}"


def _value(kind: SemanticType, raw: str, plain: str, cleaned: str) -> str:
    """SQL of a cell's value."""
    value = kind.value(cleaned, "_batch_date")
    if not kind.plain_sql or kind.plain_value_sql is None or value == cleaned:
        return value
    return f"CASE WHEN {plain} THEN {kind.plain_value_sql.format(raw=raw)} ELSE {value} END"


def _meant(plan: Plan, column: str) -> str:
    """SQL of what a key column's value is where a waiver keeps it: valid, repaired, or as it was sent."""
    value, reason, fixed = (name(f"{column}__{s}") for s in "vxp")
    sent = f"try_cast({value} AS {plan.type(column).physical})"
    return f"CASE WHEN {reason} IS NULL THEN {sent} ELSE coalesce({fixed}, {sent}) END"


def _kept(plan: Plan, column: Column, waived: Waived) -> str:
    """The branches of a column's final value that keep what a waived rule would have taken away."""
    value, reason, fixed = (name(f"{column.name}__{s}") for s in "vxp")
    rules = [r for r in plan.rules if r.column == column.name and r.rule in waived and r.reason not in ("required", "form")]
    return "".join(f"WHEN {reason} = {text(r.reason)} AND {fixed} IS NULL AND {covered(r.rule, waived)} THEN try_cast({value} AS {plan.type(column.name).physical}) "
                   for r in rules)


def key_digest(plan: Plan, columns: dict[str, str]) -> str:
    """SQL of the record key as base keeps it.

    Args:
        columns: key column → SQL of its value.
    """
    kinds = {c: kind for c, _, kind in plan.pseudonyms}
    if len(plan.dataset.key) == 1 and plan.dataset.key[0] in kinds:
        return digest(kinds[plan.dataset.key[0]], [columns[plan.dataset.key[0]]])
    return digest(f"key:{plan.dataset.id}", [columns[k] for k in plan.dataset.key])


def key_column(plan: Plan) -> str:
    """The column of judged rows that holds the record key: the pseudonym that is the same digest, so that it is kept once."""
    return next((p for c, p, _ in plan.pseudonyms if (c,) == plan.dataset.key), "_key")


def digest(kind: str, parts: list[str]) -> str:
    """SQL of the 128-bit keyed digest of `parts`; NULL when any part is NULL. Needs `keys.install` on the connection."""
    joined = " || chr(31) || ".join(f"{p}::VARCHAR" for p in parts)
    return f"keyed_digest({text(kind)} || chr(31) || {joined})"


def judge(plan: Plan, from_sql: str, keyed: bool = True, waived: Waived = MappingProxyType({})) -> str:
    """The last layer: base columns, digests and rule masks over the final columns of `standardise`.

    Args:
        keyed: the result has `_key` where `key_column` says so; without it no digest is computed and only the masks come out, which is all that proving rules needs.
        waived: rules whose failing rows are counted as waived, beside applicable and failed; then there is `_waived_n`.
    """
    dataset = plan.dataset
    pseudonyms = {p: digest(kind, [name(c)]) for c, p, kind in plan.pseudonyms}
    key = key_digest(plan, {k: name(k) for k in dataset.key})
    digests = ", ".join([f"{sql} AS {name(p)}" for p, sql in pseudonyms.items()] + [f"{key} AS _key"]) if keyed else "NULL AS _key"
    twice = {"_key"} if key_column(plan) != "_key" else set()
    kept = [name(n) for n, _ in plan.physical() if n not in {"_batch", "_file", "_ordinal", "_op"} | twice] if keyed else []
    groups = rule_bits.groups(plan)
    columns = [*kept, "_op::ENUM('U', 'D') AS _op", "_line", *rule_bits.masks(plan, groups, waived), *([f"{_unlisted(plan, waived)} AS {UNLISTED}"] if keyed else [])]
    return f"SELECT {', '.join(columns)} FROM (SELECT *, {', '.join([digests, *(g.right for g in groups)])} FROM ({from_sql}))"


def region_of(plan: Plan) -> str:
    """SQL of a judged row's county."""
    return name(plan.dataset.region) if plan.dataset.region else "NULL::VARCHAR"


def content_of(plan: Plan) -> str:
    """SQL of a 64-bit digest of a judged row: copies of a row have the same."""
    return f"hash({', '.join(name(c.name) for c in plan.dataset.columns)}, _op)"


def identity_of(plan: Plan) -> str:
    """SQL of a 64-bit digest of what rows of one key must agree in."""
    return f"hash({', '.join(name(i) for i in plan.dataset.identity) or 'NULL'})"


def _unlisted(plan: Plan, waived: Waived) -> str:
    """SQL of the codes of a row that their lists do not hold, `column=code` separated by spaces; NULL for nearly every row.

    One text for all columns: on rows that are right it costs a test of bits that are computed anyway, and no memory for each column.
    """
    watched = [(r, f"({rule_bits.holds(plan, r, 'failed', waived)} AND _looks_like_code({name(f'{r.column}__c')}))") for r in plan.rules if r.new_values]
    if not watched:
        return "NULL::VARCHAR"
    each = ", ".join(f"CASE WHEN {hit} THEN {text(f'{r.column}=')} || {name(f'{r.column}__c')} END" for r, hit in watched)
    asked = " OR ".join(f"{name(f'{r.column}__x')} IS NOT NULL" for r, _ in watched)
    return f"CASE WHEN {asked} THEN CASE WHEN {' OR '.join(hit for _, hit in watched)} THEN concat_ws(' ', {each}) END END"
