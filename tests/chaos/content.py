"""What two lakes must have in common, whatever died on the way: rows, addresses, ledger, governance; and what must not be left."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa

from pipelines import base, landing, ledger_tables as tables, release as publication, segments
from pipelines.batch import key_of
from pipelines.committing import derive, quarantine_file
from pipelines.compiler import SEGMENT
from pipelines.desk import Desk
from pipelines.sql import texts
from pipelines.verify import verify
from tests.chaos.world import DATASETS

_TIMES = {"received_at", "left_at", "decided_at", "seconds", "seen_at", "created_at", "started_at", "manifest_hash", "version", "quarantined_at", "returned_at",
          "corrected_at", "readmitted_at", "opened_at", "changed_at", "due_on", "id"}
_GOVERNANCE = ("datasets", "columns", "rules", "quarantine", "batches", "files", "rule_results", "rule_counts", "releases", "release_datasets", "inbox")


def digest(con: duckdb.DuckDBPyConnection, relation: str, but: tuple[str, ...] = ()) -> list[Any]:
    """Count and order-free digest of the rows of a relation."""
    exclude = f" EXCLUDE ({', '.join(but)})" if but else ""
    return list(map(str, con.execute(f"SELECT count(*), coalesce(sum(hash(t)::HUGEINT), 0) FROM (SELECT *{exclude} FROM {relation}) t").fetchone()))


def of(desk: Desk, published: bool) -> dict[str, Any]:
    """The content of a lake.

    Args:
        published: everything accepted is published, so current, release and leftovers can be told too.
    """
    lake, found = desk.lake, {}
    with duckdb.connect() as con:
        for dataset in DATASETS:
            plan = desk.plan(dataset)
            held = base.state(lake, plan)
            files = sorted(f for v in held.segments.values() for f in v.files)
            found[f"base {dataset}"] = digest(con, f"read_parquet({texts(files)}, union_by_name = true)", (SEGMENT,)) if files else []
            kept = [f for b, revision in held.batches.items() for f in [quarantine_file(lake, b, revision)] if f.exists()]
            found[f"quarantine {dataset}"] = digest(con, f"read_parquet({texts(kept)}, filename = false)") if kept else []
            found[f"landing {dataset}"] = [[m.batch_id, m.revision, *m.content] for m in landing.batches(lake, dataset)]
            if published:
                state = derive(desk, plan)
                found[f"current {dataset}"] = digest(con, state.relation)
                pinned = publication.pinned(lake, dataset) | {held.snapshot}
                named = {Path(f).parent.name for f in segments.data_files(base.table(lake, plan), pinned)}
                found[f"orphans {dataset}"] = sorted({p.name for p in (lake.base / dataset / "data").glob("*")} - named)
    for name in ("batches", "files", "rule_results", "region_counts", "releases", "inbox", "problems"):
        table = tables.TABLES[name]
        rows = desk.ledger.rows(sa.select(*(c for c in table.c if c.name not in _TIMES)))
        found[f"ledger {name}"] = sorted(repr(sorted(r.items(), key=str)) for r in rows)
    if lake.database.exists():
        found["published"] = view_digests(lake.database)
    withdrawn = tables.withdrawals
    found["ledger withdrawals"] = sorted(map(repr, desk.ledger.rows(sa.select(withdrawn.c.dataset, withdrawn.c.key, withdrawn.c.state))))
    if published:
        found["findings of verify"] = verify(desk)["findings"]
        found["leftovers"] = leftovers(desk)
        found["releases"] = sorted(p.name for p in lake.releases.glob("r*"))
        found["published files"] = sorted((p.name, len(list(p.iterdir()))) for p in lake.releases.glob("data/*"))
    return found


def view_digests(database: Path) -> dict[str, list[Any]]:
    """The digest of each view that must be equal in two lakes."""
    with duckdb.connect(str(database), read_only=True) as con:
        found = {d: digest(con, d) for d in DATASETS}
        for table in _GOVERNANCE:
            columns = [r[0] for r in con.execute(f"DESCRIBE governance.{table}").fetchall()]
            found[table] = digest(con, f"governance.{table}", tuple(f'"{c}"' for c in columns if c in _TIMES))
    return found


def leftovers(desk: Desk) -> list[str]:
    """What no complete run may leave: half-made files, staged batches that are decided, scratch, files in the inbox."""
    lake, t = desk.lake, tables.batches
    waiting = {key_of(r["batch_id"], r["revision"]) for r in desk.ledger.rows(sa.select(t).where(t.c.state.in_(("staged", "passed", "held"))))}
    found = [p for p in lake.home.rglob("*") if ".part" in p.name or p.name.startswith((".taking-", ".taken-", ".gate-"))]
    found += [p for p in lake.staging.iterdir() if p.name not in waiting and not p.name.startswith((".lists", ".views", ".built"))]
    found += [p for p in (lake.landing / ".incoming").glob("*")] + [p for p in lake.inbox.rglob("*") if p.is_file()]
    return sorted(str(p.relative_to(lake.home)) for p in found)


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What differs, in words."""
    return [f"{key}: {one.get(key)!r} <> {other.get(key)!r}"[:1500] for key in sorted(one.keys() | other.keys()) if one.get(key) != other.get(key)]
