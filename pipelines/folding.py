"""Folding: what old batches still say, in one file: the baseline of a dataset.

Of every key the newest version of each source before a day is kept, with the batch, file and record it came from; older
versions and deletions go. What `current` shows does not change. A baseline is one more segment of the table, exchanged
for the segments it folds in one commit; its Parquet file says which batches those were. Batches dated before its
day can then be neither corrected nor added: `rebuild` unfolds by replaying landing.
"""
from __future__ import annotations

import json
import os
import secrets
import shutil
from datetime import date, timedelta
from pathlib import Path

import duckdb

from pipelines import base, compiler, deltas, durable, keys, winners
from pipelines.batch import BatchId
from pipelines.compiler import SEGMENT, Plan
from pipelines.segments import BASELINE, FOLDED, State, Version
from pipelines.settings import Lake, WrongUse
from pipelines.splitting import ROW_GROUP
from pipelines.sql import PARQUET, connect, name, names, text

DAYS = 400


def retention_day(state: State) -> str | None:
    """The first batch date that stays as it is: LAKE_FOLD_DAYS (400) before the newest batch; None when nothing is accepted.

    Raises:
        WrongUse: LAKE_FOLD_DAYS is not a number of days.
    """
    wish = os.environ.get("LAKE_FOLD_DAYS", str(DAYS))
    if not wish.isdigit():
        raise WrongUse(f"LAKE_FOLD_DAYS is {wish!r}; give a number of days, such as {DAYS}.")
    newest = max((BatchId.parse(b).batch_date for b in state.batches), default=None)
    return newest and (date.fromisoformat(newest) - timedelta(days=int(wish))).isoformat()


def fold(lake: Lake, plan: Plan, before: str) -> dict[str, int] | None:
    """Fold the batches dated before a day into the baseline. The caller holds the dataset's lock.

    Args:
        before: batch date (YYYY-MM-DD) of the first batch that stays as it is.

    Returns:
        {"batches", "segments", "rows_before", "rows"}; None when fewer than two segments would be folded.
    """
    found = base.state(lake, plan)
    old = [v for v in found.segments.values() if all(BatchId.parse(b).batch_date < before for b, _ in v.batches)]
    if len(old) < 2:
        return None
    batches = sorted(b for v in old for b in v.batches)
    work = lake.staging / f".fold-{plan.dataset.id}"
    shutil.rmtree(work, ignore_errors=True)
    (work / "rows").mkdir(parents=True)
    mark = f"{BASELINE}{before}~{secrets.token_hex(4)}"
    ids = base.field_ids(lake, plan)
    con = connect(temp=work / "scratch")
    try:
        keys.install(con, keys.pseudonym_key(lake))
        rows = _write(con, plan, old, mark, {"batches": batches, "before": before}, ids, work / "rows" / "rows.parquet")
    finally:
        con.close()
    target = lake.base / plan.dataset.id / "data" / mark
    durable.replace(work / "rows", target)
    base.exchange(lake, plan, [v.segment for v in old], target)
    shutil.rmtree(work, ignore_errors=True)
    return {"batches": len(batches), "segments": len(old), "rows_before": sum(v.rows for v in old), "rows": rows}


def _write(con: duckdb.DuckDBPyConnection, plan: Plan, old: list[Version], mark: str, folded: dict, ids: dict[str, int], target: Path) -> int:
    """The newest version of every (source, key); of a snapshot also by part and identity, by which `current` may look for it."""
    winners.inputs(con, plan, old, {})
    d = plan.dataset
    identity = [compiler.digest(f"identity:{d.id}", [name(i) for i in d.identity])] if d.identity else []
    which = ", ".join(["source", "_key", *(["part", *identity] if d.load == "snapshot" else [])])
    listed = names(n for n, _ in plan.physical())
    field_ids = ", ".join(f"{name(n)}: {ids[n]}" for n, _ in plan.stored())
    con.execute(f"""
        COPY (
            WITH newest AS (
                SELECT * FROM version QUALIFY row_number() OVER (PARTITION BY {which}
                    ORDER BY batch_date DESC, sequence DESC, _file DESC, _ordinal DESC, part DESC) = 1)
            SELECT {listed}, {text(mark)} AS {SEGMENT} FROM newest WHERE _op <> 'D' OR {text(d.load)} = 'snapshot'
            ORDER BY {deltas.order(plan)})
        TO {text(target)} ({PARQUET}, ROW_GROUP_SIZE {ROW_GROUP}, FIELD_IDS {{{field_ids}}},
            KV_METADATA {{{FOLDED}: {text(json.dumps(folded, ensure_ascii=False))}}})""")
    return con.execute("SELECT count(*) FROM read_parquet($1)", [str(target)]).fetchone()[0]
