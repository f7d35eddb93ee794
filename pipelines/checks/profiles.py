"""Profiles of accepted batches: per column how many records, how many filled, about how many values; of code columns, which.

They are made once per batch and revision from the Parquet that base holds, after the batch was accepted, so that no run of the
gate waits for them. A batch that was folded before it had a profile has none.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow.parquet as pq
import sqlalchemy as sa

from pipelines import ledger_tables as tables
from pipelines.batch import BatchId
from pipelines.checks.candidate import Candidate
from pipelines.compiler import Plan
from pipelines.segments import BASELINE
from pipelines.sql import name, texts


@dataclass(frozen=True)
class Accepted:
    """One accepted batch, the files that base holds of it, and how many rows are in them."""

    batch: BatchId
    revision: int
    files: tuple[str, ...]
    rows: int


def pending(found: Candidate, plan: Plan) -> tuple[list[Accepted], list[Accepted]]:
    """The accepted batches of one dataset that have no profile, and all those of the same sources and batch dates."""
    ledger, prefix = found.desk.ledger, f"{plan.dataset.id}~"
    b, p = tables.batches, tables.profiles
    accepted = {(r["batch_id"], r["revision"]) for r in ledger.rows(sa.select(b.c.batch_id, b.c.revision).where(
        b.c.dataset == plan.dataset.id, b.c.state == "accepted"))}
    profiled = {(r["batch_id"], r["revision"]) for r in ledger.rows(sa.select(p.c.batch_id, p.c.revision).where(
        p.c.batch_id.startswith(prefix, autoescape=True)).distinct())}
    if not accepted - profiled:
        return [], []
    segments = found.states[plan.dataset.id].segments if plan.dataset.id in found.states else ()
    held = [Accepted(BatchId.parse(v.segment), v.batches[0][1], v.files, v.rows) for v in segments if not v.segment.startswith(BASELINE)]
    fresh = [a for a in held if (str(a.batch), a.revision) in accepted - profiled]
    touched = {(a.batch.source, a.batch.batch_date) for a in fresh}
    return fresh, [a for a in held if (a.batch.source, a.batch.batch_date) in touched]


@dataclass(frozen=True)
class Profile:
    """What `profile` found of one batch."""

    batch_id: str
    revision: int
    columns: list[dict[str, Any]]
    values: list[dict[str, Any]]


def made(found: Candidate, plan: Plan, fresh: list[Accepted]) -> list[Profile]:
    """The profiles of some batches."""
    return [Profile(str(one.batch), one.revision, *profile(found.con, plan, one.files)) for one in fresh]


def enter(con: sa.Connection, several: list[Profile]) -> None:
    """Enter profiles in place of earlier ones. A batch with a profile has been looked at in full: the leads in it are entered with it."""
    for table, kept in ((tables.profile_values, "values"), (tables.profiles, "columns")):
        batch, revision = table.c.batch_id == sa.bindparam("b"), table.c.revision == sa.bindparam("r")
        if several:
            con.execute(table.delete().where(batch, revision), [{"b": one.batch_id, "r": one.revision} for one in several])
        if rows := [{"batch_id": one.batch_id, "revision": one.revision} | row for one in several for row in getattr(one, kept)]:
            con.execute(table.insert(), rows)


def profile(con: duckdb.DuckDBPyConnection, plan: Plan, files: tuple[str, ...]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of `profiles` and `profile_values` of some files, without the batch they belong to.

    Values are listed of code columns only, and of none that is sensitive. Codes are counted as groups: `histogram` takes four times as long.
    """
    rows = f"FROM read_parquet({texts(files)}) WHERE _op = 'U'"
    held = set(pq.read_schema(files[0]).names)
    columns = [c for c in plan.dataset.columns if c.name in held]
    coded = [c for c in columns if plan.type(c.name).name in ("code", "currency") and c.strictest != "sensitive"]
    values = _values(con, [c.name for c in coded], rows)
    wanted = [f"count({name(c.name)}), {'0' if c in coded else f'approx_count_distinct({name(c.name)})'}" for c in columns]
    records, *numbers = con.execute(f"SELECT count(*), {', '.join(wanted)} {rows}").fetchone()
    per_column = [{"column": c.name, "records": records, "filled": n, "distinct_values": min(len(values[c.name]) if c in coded else m, n)}
                  for c, n, m in zip(columns, numbers[::2], numbers[1::2])]
    per_value = [{"column": c, "value": value, "rows": n} for c, counted in values.items() for value, n in sorted(counted.items())]
    return per_column, per_value


def _values(con: duckdb.DuckDBPyConnection, columns: list[str], rows: str) -> dict[str, dict[str, int]]:
    """Column → value → rows of some columns, in one pass."""
    found: dict[str, dict[str, int]] = {c: {} for c in columns}
    if columns:
        sets = ", ".join(f"({name(c)})" for c in columns)
        which = " ".join(f"WHEN grouping({name(c)}) = 0 THEN {i}" for i, c in enumerate(columns))
        value = ", ".join(f"{name(c)}::VARCHAR" for c in columns)
        for i, v, n in con.execute(f"SELECT CASE {which} END, coalesce({value}), count(*) {rows} GROUP BY GROUPING SETS ({sets})").fetchall():
            if v is not None:
                found[columns[i]][v] = n
    return found
