"""Every rule proves itself before it judges anything: its must-fail row fails and its must-pass row passes.

The rows go through the same compiled SQL that judges batches. A rule that cannot fail, or that refuses its own
good example, stops `check` and every run.
"""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import duckdb

from pipelines import compiler
from pipelines.compiler import Plan
from pipelines.contract import Column
from pipelines.rules import Rule
from pipelines.settings import WrongUse
from pipelines.sql import name, parser, text
from pipelines.trouble import let_pass

AS_OF = "DATE '2026-11-01'"
_CELL = "cell"
Asked = dict[str, list[tuple[Any, ...]]]
"""Statement → its rows, of one connection whose code lists and macros stay as they are."""


def prove(con: duckdb.DuckDBPyConnection, plan: Plan, asked: Asked | None = None) -> int:
    """Push the examples of every rule of `plan` through its compiled SQL; returns how many rules were proved.

    Args:
        con: code lists and macros are loaded.
        asked: what this very connection answered before; what it answers now is added. Plans that share it share the proofs of columns alike.

    Raises:
        WrongUse: lists every rule whose examples do not come out as declared, and every column no rule reads.
    """
    asked = {} if asked is None else asked
    errors = [e for column in plan.dataset.columns for e in _column_errors(con, plan, column, asked)] + _business_errors(con, plan)
    if errors:
        raise WrongUse("\n".join(f"{plan.dataset.id}: {e}" for e in errors))
    return len(plan.rules)


def bind(con: duckdb.DuckDBPyConnection, plan: Plan, asked: Asked) -> None:
    """Have the engine take in the whole statement that judges a batch of `plan`: columns that are right one by one may get in each other's way.

    Raises:
        duckdb.Error: it does not bind.
    """
    cells = {c.name: name(c.name) for c in plan.dataset.columns}
    nothing = ", ".join(f"NULL::VARCHAR AS {cell}" for cell in cells.values())
    _ask(con, f"CREATE OR REPLACE TEMP VIEW _bound AS {_judged(plan, cells, f'(SELECT {nothing})', '0')}", asked)      # a view is bound, and neither optimized nor run


def _column_errors(con: duckdb.DuckDBPyConnection, plan: Plan, column: Column, asked: Asked) -> list[str]:
    """One row per example, through the SQL of this column alone: no other is read by it, and statements grow worse than their columns.

    The column is called the same whatever its name, so that columns declared alike, in whichever dataset, are one statement.
    """
    kind = plan.type(column.name)
    declared = {r.reason: r for r in plan.rules if r.column == column.name}
    if not declared:
        return [f"no rule reads column {column.name}; its type {column.type} has no check and it is not required"]
    cells = {_CELL: _CELL}
    alone = compiler.plan(replace(plan.dataset, columns=(replace(column, name=_CELL),), identity=(), region=None), ())
    rules = {r.reason: r for r in alone.rules}
    rows: list[tuple[str | None, str | None]] = [(check.must_fail, check.reason) for check in kind.checks] + [(sent, None) for sent, _ in kind.must_pass]
    if column.required:
        rows.append((None, "required"))
    values = ", ".join(f"({text(sent)}::VARCHAR, {i}::BIGINT)" for i, (sent, _) in enumerate(rows))
    sql = _judged(alone, cells, f"(VALUES {values}) AS v({_CELL}, example)", "example")
    found = {line: (failed, repaired) for line, failed, repaired in _ask(con, f"SELECT _line, _failed_0, _repaired_0 FROM ({sql})", asked)}
    errors = []
    for i, (sent, reason) in enumerate(rows):
        failed, repaired = found[i]
        hit = [declared[r.reason].rule for r in alone.rules if r.reason not in ("form", "required") and failed >> r.bit & 1]
        if reason is None and hit:
            errors.append(f"column {column.name}: must-pass value {sent!r} fails {', '.join(hit)}")
        elif reason is not None and not (failed | repaired) >> rules[reason].bit & 1:      # it fails the row, or names what was repaired
            errors.append(f"rule {declared[reason].rule} does not fail on its must-fail value {sent!r} (failed: {hit or 'none'})")
    return errors


def _judged(plan: Plan, cells: dict[str, str], from_sql: str, line: str) -> str:
    """What judges a batch, without keys and business rules: these come last, and each is proved by itself."""
    plan = replace(plan, rules=tuple(r for r in plan.rules if r.column))
    return compiler.judge(plan, compiler.standardise(plan, cells, None, from_sql, AS_OF, line), keyed=False)


def _ask(con: duckdb.DuckDBPyConnection, sql: str, asked: Asked) -> list[tuple[Any, ...]]:
    """The rows of a statement that changes no answer of another; asked once."""
    if sql not in asked:
        asked[sql] = con.execute(sql).fetchall()
    return asked[sql]


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
