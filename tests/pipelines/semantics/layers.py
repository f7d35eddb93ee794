"""The layers of a type composed as the compiler composes them: submitted text → … → final value."""
from __future__ import annotations

from typing import NamedTuple

import duckdb

from pipelines import compiler
from pipelines.contract import Column
from pipelines.semantics import SemanticType, semantic_type
from pipelines.sql import text

AS_OF = "DATE '2026-11-01'"


class Outcome(NamedTuple):
    """What became of one submitted text; `stored` is the final value as text."""

    state: str
    reason: str | None
    stored: str | None
    form: bool | None


def judge(con: duckdb.DuckDBPyConnection, kind: str | SemanticType, sent: list[str | None], keep: tuple[str, ...] = (),
          as_of: str = AS_OF) -> list[Outcome]:
    """One outcome per submitted text, in order."""
    t = semantic_type(kind) if isinstance(kind, str) else kind
    rows = ", ".join(f"({i}, {text(one)}::VARCHAR)" for i, one in enumerate(sent))
    repair, form = t.repair("c", "r", "_day"), t.form("raw", "z")
    if form and t.plain_sql and t.plain_form:
        form = f"CASE WHEN k THEN true ELSE {form} END"
    column = Column("c", "列", "c", "", "internal", keep_words=keep)
    sql = f"SELECT i, raw, {as_of} AS _day FROM (VALUES {rows}) AS v(i, raw)"
    for layer in (f"{t.plain('raw', '_day')} AS k", f"{compiler._cleaned(t, column, 'raw', 'k')} AS c", f"{compiler._value(t, 'raw', 'k', 'c').replace('_batch_date', '_day')} AS v",
                  f"CASE WHEN NOT k AND c IS NOT NULL THEN {t.reason('c', 'v', '_day')} END AS r",
                  f"(CASE WHEN r IS NOT NULL THEN {repair or 'NULL'} END)::{t.physical} AS p",
                  f"CASE WHEN r IS NULL THEN v::{t.physical} ELSE p END AS z"):
        sql = f"SELECT *, {layer} FROM ({sql})"
    state = "CASE WHEN c IS NULL THEN 'missing' WHEN r IS NULL THEN 'valid' WHEN p IS NOT NULL THEN 'repaired' ELSE 'invalid' END"
    found = con.execute(f"SELECT {state}, r, z::VARCHAR, {form or 'NULL'} FROM ({sql}) ORDER BY i").fetchall()
    return [Outcome(*row) for row in found]
