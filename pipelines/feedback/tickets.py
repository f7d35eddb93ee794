"""Tickets 回执: which addresses of a judged batch go back to its department, kept as long as the quarantine is.

quarantine/<dataset>/tickets/<batch_id>~r<revision>.parquet: _file, _ordinal, kind, rules, _key, region. kind is `reject` (in quarantine, or a
line that cannot be read), `warn` (accepted, and fails a rule that only warns), `cancelled` (its sender took it back), or `before` (a ticket
given out under an earlier contract; the row is sound now). No value of a row. A returned row without a ticket that stands here is refused.
"""
from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import sqlalchemy as sa

from pipelines import durable, ledger_tables as tables, many_files, objects
from pipelines.batch import BatchId, key_of
from pipelines.desk import Desk
from pipelines.settings import Lake
from pipelines.sql import text, texts

REJECT, WARN, CANCELLED, BEFORE = "reject", "warn", "cancelled", "before"
_RULES = '"rules": '      # in plan.json
FORM = "form"      # a rule about a whole column's way of writing: told once per pack, not row by row
_EMPTY = "SELECT NULL::INTEGER AS _file, NULL::BIGINT AS _ordinal, NULL::VARCHAR AS kind, NULL::VARCHAR[] AS rules, NULL::VARCHAR AS _key, NULL::VARCHAR AS region WHERE false"


def file(lake: Lake, batch_id: str, revision: int) -> Path:
    """Where the tickets of a batch are."""
    return lake.quarantine / BatchId.parse(batch_id).dataset / "tickets" / f"{key_of(batch_id, revision)}.parquet"


def enter(desk: Desk, staged: Mapping[tuple[str, int], Path]) -> None:
    """Keep the tickets of batches that were just judged; those given out before stay. The caller holds the dataset's lock.

    Args:
        staged: (batch_id, revision) → its staging folder, or a quarantine file where nothing else is left.
    """
    paths = [file(desk.lake, *key) for key in staged]
    known = objects.entered(desk.lake, desk.ledger, paths)
    with duckdb.connect() as con:
        con.execute(f"SET threads = 1; CREATE TABLE found AS SELECT 0::BIGINT AS batch, * FROM ({_EMPTY})")
        for statement in _of_staged(list(staged.values())):
            con.execute(f"INSERT INTO found {statement}")
        for batch, path in enumerate(paths):
            if path in known:
                con.execute(f"INSERT INTO found SELECT {batch}, * REPLACE ({text(BEFORE)} AS kind) FROM read_parquet({text(path)}) "
                            f"ANTI JOIN (FROM found WHERE batch = {batch}) USING (_file, _ordinal)")
        found = {batch: paths[batch] for batch, in con.execute("SELECT DISTINCT batch FROM found ORDER BY ALL").fetchall()}
        beside = {batch: path.with_name(f"{path.name}.part") for batch, path in found.items()}
        for folder in {path.parent for path in found.values()}:
            durable.make_folders(folder, desk.lake.quarantine)
        many_files.write(con, "FROM found ORDER BY batch, _file, _ordinal", beside)
        fresh = [(beside[batch], path) for batch, path in found.items() if path not in known]
        durable.replace_all(fresh)
        objects.replace(desk.lake, desk.ledger, [path for _, path in fresh])
        for batch, path in found.items():
            if path in known:      # at once: what was given out is known by the entry that fits the file
                durable.replace(beside[batch], path)
                objects.replace(desk.lake, desk.ledger, [path])


def refresh(desk: Desk, batch_id: str, revision: int, staged: Path) -> None:
    """`enter` for a batch that was replayed, where tickets of it were given out before."""
    path, o = file(desk.lake, batch_id, revision), tables.objects
    if desk.ledger.rows(sa.select(o.c.path).where(o.c.path == str(path.relative_to(desk.lake.home)))):
        enter(desk, {(batch_id, revision): staged})


def _of_staged(staged: Sequence[Path]) -> Iterator[str]:
    """SELECTs of the place of a batch in `staged` and every address of it that goes back: one for all that were judged by the same rules."""
    alike: dict[str, list[int]] = defaultdict(list)
    for place, path in enumerate(staged):
        alike[(path / "plan.json").read_text(encoding="utf-8").partition(_RULES)[2] if path.is_dir() else ""].append(place)      # before them only the batch is named
    for told, places in alike.items():
        folders = {place: staged[place] for place in places}
        rules = json.loads((staged[places[0]] / "plan.json").read_text(encoding="utf-8"))["rules"] if told else []
        rejected = _rows({p: f / "quarantine.parquet" if told else f for p, f in folders.items()}, f"{text(REJECT)}, rules, _key, region")
        parts = [rejected]
        if told:
            parts += _warned([r for r in rules if r["severity"] != "reject" and r["reason"] != FORM], folders, rejected)
            parts.append(_rows({p: f / "cancelled.parquet" for p, f in folders.items()}, f"{text(CANCELLED)}, []::VARCHAR[], NULL, NULL"))
        yield " UNION ALL ".join(f"({p})" for p in parts)


def _warned(rules: list[dict], folders: dict[int, Path], rejected: str) -> Iterator[str]:
    """SELECT of the rows that fail one of these rules and are not in quarantine."""
    if rules:
        failing = ", ".join(f"CASE WHEN _failed_{r['mask']} & {1 << r['bit']} <> 0 THEN {text(r['rule'])} END" for r in rules)
        bits: dict[int, int] = {}
        for r in rules:
            bits[r["mask"]] = bits.get(r["mask"], 0) | 1 << r["bit"]
        hit = " OR ".join(f"_failed_{mask} & {of} <> 0" for mask, of in bits.items())
        masks = _rows({p: f / "masks.parquet" for p, f in folders.items()}, f"{text(WARN)}, list_filter([{failing}], lambda rule: rule IS NOT NULL), NULL, region", hit)
        yield f"FROM ({masks}) ANTI JOIN ({rejected}) USING (batch, _file, _ordinal)"


def _rows(files: dict[int, Path], columns: str, where: str = "true") -> str:
    """SELECT `batch`, the address and `columns` of the rows of those files that are there; their keys become `batch`."""
    there = {place: file for place, file in files.items() if file.exists()}
    if not there:
        return f"SELECT 0::BIGINT AS batch, * FROM ({_EMPTY})"
    return (f"SELECT list_extract({list(there)}::BIGINT[], one.file_index::BIGINT + 1) AS batch, _file, _ordinal, {columns} "
            f"FROM read_parquet({texts(there.values())}) AS one WHERE {where}")
