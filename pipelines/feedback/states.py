"""The life of quarantined rows: open → returned → corrected → readmitted, or cancelled, or expired. Derived at release, stored nowhere else.

A row is known by its address in a submission, whatever revision says it: `returned` since a pack with its ticket was made, `corrected` while
a revision in which it passes waits or is held, `readmitted` when that revision is accepted, `expired` LAKE_QUARANTINE_DAYS (180) after it
was first rejected. An expired row may still come back; it only is nobody's work any more.
"""
from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from pipelines.batch import key_of
from pipelines.compiler import Plan
from pipelines.feedback import tickets
from pipelines.settings import Lake, WrongUse
from pipelines.sql import text, texts

COLUMNS = ("dataset, address, batch_id, revision:INTEGER, file:INTEGER, record:BIGINT, rules:VARCHAR[], region, person_id, state, quarantined_at, returned_at, "
           "corrected_at, readmitted_at")
_KEY = "regexp_extract(key, '^(.*)~r[0-9]+$', 1) AS batch_id, regexp_extract(key, '~r([0-9]+)$', 1)::INTEGER AS revision"
_LIFE = """
    WITH base AS (SELECT batch_id, revision, submission, received_at, decided_at FROM revisions WHERE state = 'accepted'),
    life AS (
        SELECT t.batch_id, t._file, t._ordinal, min(r.decided_at) AS quarantined_at, min(r.made_at) AS returned_at, max(t.revision) AS latest
        FROM ticket t JOIN revisions r USING (batch_id, revision) JOIN base b ON b.batch_id = t.batch_id AND b.submission = r.submission
        WHERE t.kind = 'reject' GROUP BY ALL),
    next AS (
        SELECT r.batch_id, max(r.revision) AS revision FROM revisions r JOIN base b ON b.batch_id = r.batch_id AND b.submission = r.submission
        WHERE r.state = 'held' AND r.revision > b.revision GROUP BY ALL),
    waiting AS (SELECT n.batch_id, n.revision, r.received_at FROM next n JOIN revisions r USING (batch_id, revision)),
    present AS (
        SELECT q.*, coalesce(l.quarantined_at, b.decided_at) AS quarantined_at, l.returned_at,
            CASE WHEN (q.batch_id, w.revision, q._file, q._ordinal) NOT IN (SELECT (batch_id, revision, _file, _ordinal) FROM ticket WHERE kind = 'reject')
                THEN w.received_at END AS corrected_at
        FROM quarantined q JOIN base b USING (batch_id) LEFT JOIN life l USING (batch_id, _file, _ordinal) LEFT JOIN waiting w USING (batch_id)),
    past AS (
        SELECT t.*, l.quarantined_at, l.returned_at, b.received_at AS corrected_at, b.decided_at AS readmitted_at,
            (b.batch_id, b.revision, t._file, t._ordinal) IN (SELECT (batch_id, revision, _file, _ordinal) FROM ticket WHERE kind = 'cancelled') AS cancelled
        FROM ticket t JOIN life l ON l.batch_id = t.batch_id AND l._file = t._file AND l._ordinal = t._ordinal AND l.latest = t.revision
        JOIN base b ON b.batch_id = t.batch_id AND b.revision > t.revision
        WHERE t.kind = 'reject' AND (t.batch_id, t._file, t._ordinal) NOT IN (SELECT (batch_id, _file, _ordinal) FROM quarantined))
    SELECT batch_id, revision, _file, _ordinal, rules, region, _key, CASE WHEN corrected_at IS NOT NULL THEN 'corrected' WHEN quarantined_at < $cutoff THEN 'expired'
            WHEN returned_at IS NOT NULL THEN 'returned' ELSE 'open' END AS state, quarantined_at, returned_at, corrected_at, NULL::VARCHAR AS readmitted_at FROM present
    UNION ALL
    SELECT batch_id, revision, _file, _ordinal, rules, region, _key, CASE WHEN cancelled THEN 'cancelled' ELSE 'readmitted' END, quarantined_at, returned_at,
        corrected_at, CASE WHEN NOT cancelled THEN readmitted_at END FROM past"""


def days() -> int:
    """LAKE_QUARANTINE_DAYS: after how many days a row in quarantine is expired.

    Raises:
        WrongUse: it is no number of days.
    """
    given = os.environ.get("LAKE_QUARANTINE_DAYS", "180")
    if not given.isdecimal():
        raise WrongUse(f"LAKE_QUARANTINE_DAYS is {given!r}; give a number of days.")
    return int(given)


def write(con: duckdb.DuckDBPyConnection, lake: Lake, plans: dict[str, Plan], batches: list[dict[str, Any]], packs: list[dict[str, Any]],
          moment: str, file: Path, withdrawn: dict[str, list[str]]) -> None:
    """Write the governance table `quarantine`: the rejected rows of accepted batches, and those that were readmitted or cancelled since.

    Args:
        batches: ledger rows of batches.
        packs: ledger rows of `feedback`.
        moment: the time of the release, in the ledger's form; what is expired is told by it.
        withdrawn: dataset → keys of records that are not shown.
    """
    cutoff = (datetime.strptime(moment, "%Y-%m-%dT%H:%M:%SZ") - timedelta(days=days())).strftime("%Y-%m-%dT%H:%M:%SZ")
    _load(con, lake, [b for b in batches if b["dataset"] in plans], {(p["batch_id"], p["revision"]): p["made_at"] for p in packs})
    # `_key` is shown where it is the pseudonym of a person, by which views join.
    persons = [d for d, plan in plans.items() if len(plan.dataset.key) == 1 and plan.dataset.key[0] in {c for c, _, kind in plan.pseudonyms if kind == "person"}]
    hidden = " OR ".join(f"(dataset = {text(d)} AND _key IN (SELECT unnest({texts(found)})))" for d, found in withdrawn.items() if found and d in plans)
    con.execute(f"""
        COPY (SELECT dataset, batch_id || '~r' || revision || '#' || _file || ':' || _ordinal AS address, batch_id, revision, _file::INTEGER AS file, _ordinal::BIGINT AS record,
                rules, region,
                CASE WHEN dataset IN (SELECT unnest({texts(persons)}::VARCHAR[])) THEN _key END AS person_id, state, quarantined_at, returned_at, corrected_at, readmitted_at
            FROM (SELECT *, split_part(batch_id, '~', 1) AS dataset FROM ({_LIFE})) WHERE NOT coalesce({hidden or 'false'}, false)
            ORDER BY dataset, batch_id, file, record) TO {text(file)} (FORMAT parquet, COMPRESSION zstd)""", {"cutoff": cutoff})
    con.execute("DROP TABLE revisions; DROP TABLE quarantined; DROP TABLE ticket")


def _load(con: duckdb.DuckDBPyConnection, lake: Lake, batches: list[dict[str, Any]], made: dict[tuple[str, int], str]) -> None:
    """Make `revisions`, `quarantined` and `ticket`: of the batches with which anything is in quarantine, or was."""
    import pyarrow as pa

    held = [p for b in batches if b["state"] == "accepted" for p in [lake.quarantine / b["dataset"] / f"{key_of(b['batch_id'], b['revision'])}.parquet"] if p.exists()]
    given = [p for b in batches for p in [tickets.file(lake, b["batch_id"], b["revision"])] if p.exists()]
    rows = [{"batch_id": b["batch_id"], "revision": b["revision"], "submission": b["builds_on"] or b["revision"], "state": b["state"],
             "received_at": b["received_at"], "decided_at": b["decided_at"], "made_at": made.get((b["batch_id"], b["revision"]))} for b in batches]
    schema = pa.schema([(n, pa.int32() if n in ("revision", "submission") else pa.string())
                        for n in ("batch_id", "revision", "submission", "state", "received_at", "decided_at", "made_at")])
    con.register("revision_rows", pa.Table.from_pylist(rows, schema=schema))
    con.execute("CREATE OR REPLACE TEMP TABLE revisions AS FROM revision_rows")
    con.unregister("revision_rows")
    columns = "_file, _ordinal, rules, region, _key"
    empty = "NULL::INTEGER AS _file, NULL::BIGINT AS _ordinal, NULL::VARCHAR[] AS rules, NULL::VARCHAR AS region, NULL::VARCHAR AS _key, NULL::VARCHAR AS kind, '' AS key"
    for table, files, more in (("quarantined", held, ""), ("ticket", given, ", kind")):
        found = f"SELECT {columns}{more}, parse_filename(filename, true) AS key FROM read_parquet({texts(files)}, filename = true, union_by_name = true)" if files else \
            f"SELECT {empty} WHERE false"
        con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT {columns}{more}, {_KEY} FROM ({found})")
