"""现势库: derived from accepted versions, never edited: current/<dataset>/<version>/rows.parquet, overlaps.parquet, current.json.

Per (source, key) the version with the greatest (batch_date, sequence, file, ordinal, part), absent if that is a delete;
per key the row of the source with the highest authority. The version name is a digest of what went in, so the
order of arrival leaves no trace and an unchanged dataset is not written again. Written beside, then renamed.
"""
from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipelines import durable, keys
from pipelines.base import State, Version
from pipelines.batch import BatchId
from pipelines.compiler import Plan, digest, key_column
from pipelines.settings import Lake
from pipelines.sql import PARQUET, connect, name, names, text, texts

FORMAT = 2


@dataclass(frozen=True)
class Current:
    """One derived state of a dataset: its folder and the content of its current.json."""

    folder: Path
    facts: dict[str, Any]
    snapshot: int | None = None     # of base, from which it was derived
    segments: tuple[Version, ...] = ()      # that it was derived from,
    quarantine: tuple[tuple[str, Path], ...] = ()      # with the rejected addresses of their batches

    @property
    def rows(self) -> Path:
        return self.folder / "rows.parquet"

    @property
    def overlaps(self) -> Path:
        """Counts where sources or parts overlap; see `_overlaps`."""
        return self.folder / "overlaps.parquet"


def derive(lake: Lake, plan: Plan, state: State, quarantine: dict[str, Path]) -> Current:
    """Derive the dataset's current state.

    Args:
        plan: the dataset's plan.
        state: what base holds.
        quarantine: batch_id → quarantine file, of every accepted batch that has one.
    """
    version = _version(plan, state)
    final = lake.current / plan.dataset.id / version
    if not (final / "current.json").exists():
        work = final.with_name(f"{version}.part")
        shutil.rmtree(work, ignore_errors=True)
        (work / "scratch").mkdir(parents=True)
        con = connect(temp=work / "scratch")
        try:
            keys.install(con, keys.pseudonym_key(lake))
            facts = _write(con, plan, state, quarantine, work)
        finally:
            con.close()
        shutil.rmtree(work / "scratch")
        facts |= {"dataset": plan.dataset.id, "version": version, "batches": sorted(state.batches),
                  "as_of": max((BatchId.parse(b).batch_date for b in state.batches), default=None)}
        (work / "current.json").write_text(json.dumps(facts, ensure_ascii=False))
        shutil.rmtree(final, ignore_errors=True)
        durable.replace(work, final)
    return Current(final, json.loads((final / "current.json").read_text()), state.snapshot, tuple(v for _, v in sorted(state.segments.items())),
                   tuple(sorted(quarantine.items())))


def _version(plan: Plan, state: State) -> str:
    """A digest of the files that went in (their folders name batch and revision), the load rules and the columns."""
    d = plan.dataset
    parts = [FORMAT, d.load, d.on_reject, d.key, d.identity, [s.source for s in d.sources], plan.physical(),
             sorted(f for v in state.segments.values() for f in v.files)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _write(con: duckdb.DuckDBPyConnection, plan: Plan, state: State, quarantine: dict[str, Path], work: Path) -> dict[str, Any]:
    inputs(con, plan, state.segments.values(), quarantine)
    _candidates(con, plan)
    _winners(con, plan.dataset.on_reject == "keep")
    pseudonyms = {c: p for c, p, _ in plan.pseudonyms}
    order = names(pseudonyms.get(k, k) for k in plan.dataset.key)
    columns = {n: name(n) for n, _ in plan.physical() if n != "_op"} | {"_source": "source", "_stale_since": "stale_since"}
    later = {"_key": name(key_column(plan))} if key_column(plan) != "_key" else {}
    if len(batches := con.execute("SELECT batch_id, source FROM batch").fetchall()) == 1:
        later |= {"_batch": text(batches[0][0]), "_source": text(batches[0][1])}
    sorted_ = ", ".join(f"{sql} AS {name(n)}" for n, sql in columns.items() if n not in later)      # what every row has, or has twice, need not be sorted
    con.execute(f"""
        COPY (SELECT {', '.join(f"{later.get(n, name(n))} AS {name(n)}" for n in columns)} FROM (SELECT {sorted_} FROM winner ORDER BY {order}))
        TO {text(work / 'rows.parquet')} ({PARQUET})""")
    con.execute(f"COPY ({_overlaps(plan)}) TO {text(work / 'overlaps.parquet')} ({PARQUET})")
    rows, stale = con.execute("SELECT count(*), count(_stale_since) FROM read_parquet($1)", [str(work / "rows.parquet")]).fetchone()
    return {"rows": rows, "stale_rows": stale, "disagreements": _disagreements(con, plan)}


def inputs(con: duckdb.DuckDBPyConnection, plan: Plan, segments: Iterable[Version], quarantine: dict[str, Path]) -> None:
    """Tables `batch` (small) and views `version` (accepted rows) and `rejected` (addresses) of some segments."""
    rank = {s.source: s.rank for s in plan.dataset.sources}
    con.execute("CREATE TABLE batch(batch_id VARCHAR, source VARCHAR, rank INTEGER, part VARCHAR, batch_date DATE, sequence INTEGER, newest BOOLEAN)")
    segments = list(segments)
    ids = [BatchId.parse(b) for v in segments for b, _ in v.batches]
    newest = {}
    for b in ids:
        newest[b.stream] = max(newest.get(b.stream, ("", 0)), (b.batch_date, b.sequence))
    rows = [(str(b), b.source, rank.get(b.source, len(rank)), b.part, b.batch_date, b.sequence,
             newest[b.stream] == (b.batch_date, b.sequence)) for b in ids]
    if rows:
        con.executemany("INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    files = [f for v in segments for f in v.files]
    typed = ", ".join(f"NULL::{t} AS {name(n)}" for n, t in plan.physical())
    # Older files lack columns that the contract gained since: the empty branch brings name and type.
    read = f"FROM read_parquet({texts(files)}, union_by_name = true) UNION ALL BY NAME " if files else ""
    con.execute(f"CREATE VIEW version AS SELECT v.*, batch.* FROM (SELECT {names(n for n, _ in plan.physical())} "
                f"FROM ({read}SELECT {typed} WHERE false)) v JOIN batch ON _batch = batch_id")
    parts = [f"SELECT {text(b)} AS batch_id, _key, _identity FROM read_parquet({text(q)})" for b, q in quarantine.items()]
    empty = "SELECT ''::VARCHAR AS batch_id, ''::VARCHAR AS _key, ''::VARCHAR AS _identity WHERE false"
    con.execute(f"CREATE TABLE rejected AS SELECT r.*, source, part, batch_date, sequence, newest "
                f"FROM ({' UNION ALL '.join([empty, *parts])}) r JOIN batch USING (batch_id)")


def _candidates(con: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """`candidate`: the versions that may win, each with `stale_since`.

    A snapshot counts as the whole truth of its stream: only its newest submission's rows stand, and beside them the
    last accepted version of every key that the newest submission carries in a rejected row (matched by key, or, where
    the rejected row's key itself is unreadable, by its identity columns).
    """
    keep = plan.dataset.on_reject == "keep"
    if plan.dataset.load != "snapshot":
        con.execute("CREATE VIEW candidate AS SELECT *, NULL::DATE AS stale_since FROM version")
        return
    identity = digest(f"identity:{plan.dataset.id}", [name(i) for i in plan.dataset.identity]) if plan.dataset.identity else "NULL::VARCHAR"
    con.execute("CREATE VIEW newest AS SELECT *, NULL::DATE AS stale_since FROM version WHERE newest")
    if not keep or not con.execute("SELECT count(*) FROM rejected WHERE newest").fetchone()[0]:
        con.execute("CREATE VIEW candidate AS FROM newest")
        return
    con.execute(f"""
        CREATE TABLE kept AS
        WITH earlier AS (SELECT *, {identity} AS _identity FROM version WHERE NOT newest)
        SELECT e.* EXCLUDE (_identity), r.batch_date AS stale_since FROM earlier e
        JOIN (SELECT DISTINCT source, part, batch_date, sequence, _key FROM rejected WHERE newest AND _key IS NOT NULL) r
          ON e.source = r.source AND e.part = r.part AND e._key = r._key
        UNION ALL
        SELECT e.* EXCLUDE (_identity), r.batch_date FROM earlier e
        JOIN (SELECT DISTINCT source, part, batch_date, sequence, _identity FROM rejected WHERE newest AND _key IS NULL AND _identity IS NOT NULL) r
          ON e.source = r.source AND e.part = r.part AND e._identity = r._identity""")
    if not con.execute("SELECT count(*) FROM kept").fetchone()[0]:      # or every use of the view would hash all rows for nothing
        con.execute("CREATE VIEW candidate AS FROM newest")
        return
    con.execute("CREATE VIEW candidate AS FROM newest UNION ALL BY NAME "
                "FROM kept WHERE (source, part, _key) NOT IN (SELECT (source, part, _key) FROM newest)")


def _winners(con: duckdb.DuckDBPyConnection, keep: bool) -> None:
    """`of_source`: the newest version per (source, key) and since when newer rows of it are rejected; `winner`: of the
    highest authority per key.

    Keys with a single version, nearly all of them, never enter a window.

    Args:
        keep: a version with newer rejected rows stays, flagged; otherwise it is dropped (`on_reject`).
    """
    con.execute("CREATE TABLE repeated AS SELECT _key FROM candidate GROUP BY _key HAVING count(*) > 1")
    alone = not con.execute("SELECT count(*) FROM repeated").fetchone()[0]      # every key: or each view would look for every key in an empty table
    contested = "" if alone else "AND _key NOT IN (SELECT _key FROM repeated) UNION ALL SELECT * FROM contest WHERE _op <> 'D'"
    con.execute(f"""
        CREATE TABLE contest AS
            SELECT * FROM candidate WHERE {'false' if alone else '_key IN (SELECT _key FROM repeated)'}
            QUALIFY row_number() OVER (PARTITION BY source, _key
                ORDER BY batch_date DESC, sequence DESC, _file DESC, _ordinal DESC, part DESC) = 1;
        CREATE VIEW live AS
            SELECT * FROM candidate WHERE _op <> 'D' {contested};
        CREATE TABLE late AS
            SELECT l.source, l._key, min(r.batch_date) AS since FROM live l JOIN rejected r ON r.source = l.source AND r._key = l._key
            WHERE (r.batch_date, r.sequence) > (l.batch_date, l.sequence) GROUP BY ALL""")
    late = con.execute("SELECT count(*) FROM late").fetchone()[0]
    stands = """SELECT * FROM live WHERE (source, _key) NOT IN (SELECT (source, _key) FROM late)
                UNION ALL
                SELECT l.* REPLACE (coalesce(l.stale_since, late.since) AS stale_since) FROM live l JOIN late USING (source, _key)""" if late else "SELECT * FROM live"
    best = "" if alone else """
            WHERE _key NOT IN (SELECT _key FROM repeated)
            UNION ALL
            SELECT * FROM of_source WHERE _key IN (SELECT _key FROM repeated)
            QUALIFY row_number() OVER (PARTITION BY _key ORDER BY rank) = 1"""
    con.execute(f"""
        CREATE VIEW of_source AS SELECT * FROM ({stands}) WHERE {'true' if keep else 'stale_since IS NULL'};
        CREATE VIEW winner AS SELECT * FROM of_source {best}""")


def _disagreements(con: duckdb.DuckDBPyConnection, plan: Plan) -> dict[str, int]:
    """Column → keys whose sources give different values (indicator 0401); empty with a single source."""
    columns = [c.name for c in plan.dataset.columns if not c.primary_key]
    if len(plan.dataset.sources) < 2 or not columns:
        return {}
    differ = ", ".join(f"count(DISTINCT {name(c)}) > 1 AS {name(c)}" for c in columns)
    sums = ", ".join(f"count(*) FILTER ({name(c)})" for c in columns)
    found = con.execute(f"SELECT {sums} FROM (SELECT {differ} FROM of_source "
                        "WHERE _key IN (SELECT _key FROM repeated) GROUP BY _key HAVING count(*) > 1)").fetchone()
    return {c: n for c, n in zip(columns, found) if n}


def _overlaps(plan: Plan) -> str:
    """Where one key is reported more than once, as (rule, column, source, other, region, applicable, failed).

    agrees: per column and pair of sources the keys that both fill in, and those that differ; `source` has the lower authority.
    one_part: rows of a snapshot, and those whose key stands in several parts. one_identity: the latter, and those whose
    identity columns differ (two persons with one number).
    """
    d = plan.dataset
    columns = [c.name for c in d.columns if not c.primary_key]
    region = f"coalesce({{}}.{name(d.region)}, '')" if d.region else "''"
    found = ["SELECT NULL::VARCHAR AS rule, NULL::VARCHAR AS \"column\", NULL::VARCHAR AS source, NULL::VARCHAR AS other, NULL::VARCHAR AS region, "
             "NULL::BIGINT AS applicable, NULL::BIGINT AS failed WHERE false"]
    if len(d.sources) > 1 and columns:
        each = ", ".join(f"{{c: {text(c)}, a: count(*) FILTER (a.{name(c)} IS NOT NULL AND b.{name(c)} IS NOT NULL), "
                         f"f: count(*) FILTER (a.{name(c)} <> b.{name(c)})}}" for c in columns)
        found.append(f"""
            SELECT 'agrees', u.c, source, other, region, u.a, u.f FROM (
                SELECT b.source AS source, a.source AS other, {region.format('b')} AS region, unnest([{each}]) AS u
                FROM of_source a JOIN of_source b ON a._key = b._key AND a.rank < b.rank WHERE a._key IN (SELECT _key FROM repeated) GROUP BY ALL)
            WHERE u.a > 0""")
    if d.load == "snapshot":
        identity = f"hash({names(d.identity)})" if d.identity else "0"
        found.append(f"""
            SELECT u.r, NULL, source, NULL, region, sum(u.a)::BIGINT, sum(u.f)::BIGINT FROM (
                SELECT source, {region.format('c')} AS region, unnest([
                    {{r: 'one_part', a: count(*), f: count(*) FILTER (parts > 1)}},
                    {{r: 'one_identity', a: count(*) FILTER (parts > 1), f: count(*) FILTER (parts > 1 AND kinds > 1)}}]) AS u
                FROM (SELECT *, 1 AS parts, 1 AS kinds FROM candidate WHERE _op <> 'D' AND _key NOT IN (SELECT _key FROM repeated)
                      UNION ALL BY NAME
                      SELECT *, count(DISTINCT part) OVER w AS parts, count(DISTINCT {identity}) OVER w AS kinds
                      FROM candidate WHERE _op <> 'D' AND _key IN (SELECT _key FROM repeated) WINDOW w AS (PARTITION BY source, _key)) c
                GROUP BY ALL)
            WHERE u.a > 0 GROUP BY ALL""")
    return f"SELECT * FROM ({' UNION ALL '.join(found)}) ORDER BY ALL"


def sweep(lake: Lake, dataset_id: str, wanted: set[str]) -> None:
    """Remove derived states but the `wanted` versions. The caller holds the dataset's lock."""
    for path in (lake.current / dataset_id).glob("*"):
        if path.name not in wanted:
            shutil.rmtree(path)
