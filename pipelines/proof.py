"""Every rule proves itself before it judges anything: its must-fail row fails and its must-pass row passes.

The rows go through the same compiled SQL that judges batches. A rule that cannot fail, or that refuses its own
good example, stops `check` and every run.
"""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import duckdb

from pipelines import compiler
from pipelines.compiler import Plan, PlannedRule
from pipelines.rules import Rule
from pipelines.settings import WrongUse
from pipelines.sql import name, parser, text
from pipelines.trouble import let_pass

AS_OF = "DATE '2026-11-01'"


def prove(con: duckdb.DuckDBPyConnection, plan: Plan) -> int:
    """Push the examples of every rule of `plan` through its compiled SQL; returns how many rules were proved.

    Raises:
        WrongUse: lists every rule whose examples do not come out as declared, and every column no rule reads.
    """
    errors = _type_errors(con, plan) + _business_errors(con, plan)
    if errors:
        raise WrongUse("\n".join(f"{plan.dataset.id}: {e}" for e in errors))
    return len(plan.rules)


def _type_errors(con: duckdb.DuckDBPyConnection, plan: Plan) -> list[str]:
    """One row per example: the example's text in its column, every other column empty."""
    rows: list[tuple[str, str, str | None, PlannedRule | None]] = []
    for column in plan.dataset.columns:
        kind = plan.type(column.name)
        by_reason = {r.reason: r for r in plan.rules if r.column == column.name}
        if not by_reason:
            return [f"no rule reads column {column.name}; its type {column.type} has no check and it is not required"]
        rows += [(column.name, "fail", check.must_fail, by_reason[check.reason]) for check in kind.checks]
        rows += [(column.name, "pass", sent, None) for sent, _ in kind.must_pass]
        if column.required:
            rows.append((column.name, "fail", None, by_reason["required"]))
    cells = {c.name: name(c.name) for c in plan.dataset.columns}
    values = ", ".join("(" + ", ".join(text(sent if c.name == column else None) + "::VARCHAR" for c in plan.dataset.columns) + f", {i}::BIGINT)"
                       for i, (column, _, sent, _) in enumerate(rows))
    names = ", ".join([*cells.values(), "example"])
    plan = replace(plan, rules=tuple(r for r in plan.rules if r.column))      # business rules, which come last, are proved by themselves: binding them here too took most of the time
    sql = compiler.judge(plan, compiler.standardise(plan, cells, None, f"(VALUES {values}) AS v({names})", AS_OF, "example"), keyed=False)
    found = {r["_line"]: r for r in _dicts(con, f"SELECT _line, {_masks(plan)} FROM ({sql})")}
    errors = []
    for i, (column, want, sent, rule) in enumerate(rows):
        own = [r for r in plan.rules if r.column == column and r.reason not in ("form", "required")]
        failed = [r.rule for r in own if found[i][f"_failed_{r.mask}"] >> r.bit & 1]
        if rule is not None and not _hit(found[i], rule):
            errors.append(f"rule {rule.rule} does not fail on its must-fail value {sent!r} (failed: {failed or 'none'})")
        if want == "pass" and failed:
            errors.append(f"column {column}: must-pass value {sent!r} fails {', '.join(failed)}")
    return errors


def _business_errors(con: duckdb.DuckDBPyConnection, plan: Plan) -> list[str]:
    """Each example is a row of final columns (and their cleaned texts, `<column>__c`), in a file of its own with the rows `beside` it; only the rule's own SQL reads it."""
    errors = []
    planned = {r.rule: r for r in plan.rules}
    types = {c.name: plan.type(c.name).physical for c in plan.dataset.columns}
    for rule in plan.business:
        p = planned[rule.rule]
        for want, example in (("fail", dict(rule.must_fail)), ("pass", dict(rule.must_pass))):
            file = " UNION ALL ".join(_row(types, row, i) for i, row in enumerate([example, *(dict(r) for r in rule.beside)]))
            judged = f"SELECT coalesce({p.applied}, false) AS applied, coalesce({p.failed}, false) AS failed, _line FROM ({file})"
            try:
                applied, failed = con.execute(f"SELECT applied, failed FROM ({judged}) WHERE _line = 0").fetchone()
            except duckdb.Error as error:
                let_pass(error)
                errors.append(f"rule {rule.rule}: {str(error).splitlines()[0]}")
                break
            if not applied:
                errors.append(f"rule {rule.rule}: its must_{want} row is outside `when`")
            elif failed != (want == "fail"):
                errors.append(f"rule {rule.rule}: its must_{want} row {'fails' if failed else 'passes'}")
    return errors


def _row(types: dict[str, str], example: dict[str, Any], line: int) -> str:
    columns = ", ".join(f"{text(_plain(example.get(c)))}::{t} AS {name(c)}, {text(_plain(example.get(c)))} AS {name(c + '__c')}" for c, t in types.items())
    return f"SELECT {columns}, 'U' AS _op, {AS_OF} AS _batch_date, {line} AS _line"


def prove_across(con: duckdb.DuckDBPyConnection, plan: Plan, plans: dict[str, Plan]) -> int:
    """Try the examples of every rule of `plan` that reads other datasets, over the rows its `with` gives them.

    Args:
        con: code lists and macros are loaded; what is made here is rolled back.
        plans: the plan of every dataset.

    Returns:
        How many rules were proved.

    Raises:
        WrongUse: lists every rule whose examples do not come out as declared, or whose `reads` are not what it reads.
    """
    errors = [e for rule in plan.across for e in _across_errors(con, plan, rule, plans)]
    if len(plan.across) > compiler.BITS:
        errors.append(f"{len(plan.across)} rules read other datasets; {compiler.BITS} can be judged")
    if errors:
        raise WrongUse("\n".join(f"{plan.dataset.id}: {e}" for e in errors))
    return len(plan.across)


def _across_errors(con: duckdb.DuckDBPyConnection, plan: Plan, rule: Rule, plans: dict[str, Plan]) -> list[str]:
    unknown = sorted(set(rule.reads) - plans.keys())
    if unknown:
        return [f"rule {rule.rule} reads {', '.join(unknown)}, which no contract declares"]
    try:      # in a database of its own: in `con` the names are views, whose files would be told instead
        named = parser().get_table_names(f"SELECT 1 FROM own WHERE ({rule.holds}) AND ({rule.when or 'true'})", qualified=True)
    except duckdb.Error as error:
        return [f"rule {rule.rule}: {str(error).splitlines()[0]}"]
    read = {t.partition(" AS ")[0].replace('"', "") for t in named if not t.startswith("reference.")} - {"own"}
    if read != set(rule.reads):
        return [f"rule {rule.rule} declares reads: {', '.join(sorted(rule.reads))}; its SQL reads {', '.join(sorted(read)) or 'no other dataset'}"]
    con.execute("BEGIN")
    try:
        for dataset in rule.reads:
            con.execute(view_of(dataset, _rows(plans[dataset], dict(rule.given).get(dataset, ()))))
        return _across_examples(con, plan, rule)
    except duckdb.Error as error:
        let_pass(error)
        return [f"rule {rule.rule}: {str(error).splitlines()[0]}"]
    finally:
        con.execute("ROLLBACK")


def _across_examples(con: duckdb.DuckDBPyConnection, plan: Plan, rule: Rule) -> list[str]:
    errors = []
    for want, example in (("fail", dict(rule.must_fail)), ("pass", dict(rule.must_pass))):
        own = f"SELECT *, {AS_OF} AS _as_of FROM ({_rows(plan, (example,))})"
        applied, failed = con.execute(f"SELECT coalesce(({rule.when or 'true'}), false), NOT coalesce(({rule.holds}), false) FROM ({own}) own").fetchone()
        if not applied:
            errors.append(f"rule {rule.rule}: its must_{want} row is outside `when`")
        elif failed != (want == "fail"):
            errors.append(f"rule {rule.rule}: its must_{want} row {'fails' if failed else 'passes'}")
    return errors


def view_of(dataset: str, select: str) -> str:
    """The statements that make `select` readable as the dataset it is named after."""
    schema, _, table = dataset.partition(".")
    return f"CREATE SCHEMA IF NOT EXISTS {name(schema)}; CREATE OR REPLACE VIEW {name(schema)}.{name(table)} AS {select}"


def _rows(plan: Plan, rows: tuple[dict[str, Any], ...]) -> str:
    """A SELECT of rows given as column → value, with the columns and types of the dataset."""
    types = [(c.name, plan.type(c.name).physical) for c in plan.dataset.columns]
    unknown = {c for row in rows for c in row} - {c for c, _ in types}
    if unknown:
        raise WrongUse(f"`with` gives {plan.dataset.id} the columns {', '.join(sorted(unknown))}, which its contract does not have")
    made = ["SELECT " + ", ".join(f"{text(_plain(row.get(c)))}::{t} AS {name(c)}" for c, t in types) for row in rows]
    return " UNION ALL ".join(made or ["SELECT " + ", ".join(f"NULL::{t} AS {name(c)}" for c, t in types) + " WHERE false"])


def _plain(value: Any) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _hit(row: dict[str, Any], rule: PlannedRule) -> bool:
    """The rule noticed the value: it fails the row, or names what was repaired."""
    return bool((row[f"_failed_{rule.mask}"] | row[f"_repaired_{rule.mask}"]) >> rule.bit & 1)


def _masks(plan: Plan) -> str:
    return ", ".join(f"_failed_{i}, _repaired_{i}" for i in range(plan.masks))


def _dicts(con: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    found = con.execute(sql)
    names = [d[0] for d in found.description]
    return [dict(zip(names, row)) for row in found.fetchall()]
