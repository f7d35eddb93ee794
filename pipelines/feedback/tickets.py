"""Tickets 回执: which addresses of a judged batch go back to its department, kept as long as the quarantine is.

quarantine/<dataset>/tickets/<batch_id>~r<revision>.parquet: _file, _ordinal, kind, rules, _key, region. kind is `reject` (in quarantine, or a
line that cannot be read), `warn` (accepted, and fails a rule that only warns), `cancelled` (its sender took it back), or `before` (a ticket
given out under an earlier contract; the row is sound now). No value of a row. A returned row without a ticket that stands here is refused.
"""
from __future__ import annotations

import json
from pathlib import Path

import duckdb
import sqlalchemy as sa

from pipelines import durable, ledger_tables as tables, objects
from pipelines.batch import BatchId, key_of
from pipelines.desk import Desk
from pipelines.settings import Lake
from pipelines.sql import text

REJECT, WARN, CANCELLED, BEFORE = "reject", "warn", "cancelled", "before"
FORM = "form"      # a rule about a whole column's way of writing: told once per pack, not row by row
_EMPTY = "SELECT NULL::INTEGER AS _file, NULL::BIGINT AS _ordinal, NULL::VARCHAR AS kind, NULL::VARCHAR[] AS rules, NULL::VARCHAR AS _key, NULL::VARCHAR AS region WHERE false"


def file(lake: Lake, batch_id: str, revision: int) -> Path:
    """Where the tickets of a batch are."""
    return lake.quarantine / BatchId.parse(batch_id).dataset / "tickets" / f"{key_of(batch_id, revision)}.parquet"


def enter(desk: Desk, batch_id: str, revision: int, staged: Path) -> None:
    """Keep the tickets of a batch that was just judged; those given out before stay. The caller holds the dataset's lock.

    Args:
        staged: its staging folder, or a quarantine file where nothing else is left.
    """
    path = file(desk.lake, batch_id, revision)
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE found AS {_of_staged(staged) if staged.is_dir() else _rejected(staged)}")
        if objects.is_entered(desk.lake, desk.ledger, path):
            con.execute(f"INSERT INTO found SELECT * REPLACE ({text(BEFORE)} AS kind) FROM read_parquet({text(path)}) ANTI JOIN found USING (_file, _ordinal)")
        elif not con.execute("SELECT count(*) FROM found").fetchone()[0]:
            return
        durable.make_folders(path.parent, desk.lake.quarantine)
        beside = path.with_name(f"{path.name}.part")
        con.execute(f"COPY (FROM found ORDER BY _file, _ordinal) TO {text(beside)} (FORMAT parquet, COMPRESSION zstd)")
    durable.replace(beside, path)
    objects.replace(desk.lake, desk.ledger, [path])


def refresh(desk: Desk, batch_id: str, revision: int, staged: Path) -> None:
    """`enter` for a batch that was replayed, where tickets of it were given out before."""
    path, o = file(desk.lake, batch_id, revision), tables.objects
    if desk.ledger.rows(sa.select(o.c.path).where(o.c.path == str(path.relative_to(desk.lake.home)))):
        enter(desk, batch_id, revision, staged)


def _rejected(quarantine: Path) -> str:
    return f"SELECT _file, _ordinal, {text(REJECT)} AS kind, rules, _key, region FROM read_parquet({text(quarantine)})"


def _of_staged(folder: Path) -> str:
    """SELECT of every address of a staged batch that goes back."""
    parts = [_rejected(folder / "quarantine.parquet")] if (folder / "quarantine.parquet").exists() else [_EMPTY]
    rules = [r for r in json.loads((folder / "plan.json").read_text(encoding="utf-8"))["rules"] if r["severity"] != "reject" and r["reason"] != FORM]
    if rules:
        failing = ", ".join(f"CASE WHEN _failed_{r['mask']} & {1 << r['bit']} <> 0 THEN {text(r['rule'])} END" for r in rules)
        bits: dict[int, int] = {}
        for r in rules:
            bits[r["mask"]] = bits.get(r["mask"], 0) | 1 << r["bit"]
        hit = " OR ".join(f"_failed_{mask} & {of} <> 0" for mask, of in bits.items())
        parts.append(f"SELECT _file, _ordinal, {text(WARN)}, list_filter([{failing}], lambda rule: rule IS NOT NULL), NULL, region "
                     f"FROM read_parquet({text(folder / 'masks.parquet')}) ANTI JOIN ({parts[0]}) USING (_file, _ordinal) WHERE {hit}")
    if (folder / "cancelled.parquet").exists():
        parts.append(f"SELECT _file, _ordinal, {text(CANCELLED)}, []::VARCHAR[], NULL, NULL FROM read_parquet({text(folder / 'cancelled.parquet')})")
    return " UNION ALL ".join(f"({p})" for p in parts)
