"""Is everything the lake holds what was put there? Every file against its digest, every reference, every row count.

Read-only. A finding names the file, what is wrong with it and what to restore from where; no finding names a value.
What lasts was entered in the ledger when it was complete (`pipelines.objects`); landing files also stand in manifests.
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from pipelines import (
    backup,
    catalogue,
    changes,
    committing,
    keys,
    landing,
    ledger_tables as tables,
    objects,
    release as publication,
    segments,
    withdrawal,
)
from pipelines.batch import split_key
from pipelines.contract import datasets
from pipelines.copying import digest
from pipelines.desk import Desk
from pipelines.feedback import tickets
from pipelines.settings import SQLITE, WrongUse
from pipelines.store.tables import kept_in, local

ROOTS = ("landing", "base", "quarantine", "current", "releases")
Finding = dict[str, str]


def verify(desk: Desk | None = None) -> dict[str, Any]:
    """Check the whole lake.

    Returns:
        {"files", "bytes" (read), "findings": [{"path", "problem", "remedy"}]}; no finding means that all is as it was put.
    """
    desk = desk or Desk.open()
    entered, found = objects.entries(desk.ledger), []
    with _quiet(desk):
        files = [f for root in ROOTS for f in objects.lasting(desk.lake.home / root) if f != desk.lake.restricted]     # views, made at every release
        digests = objects.digests(files)
        stated = _stated(desk)
        for file, (sha, size) in digests.items():
            want = entered.get(_place(desk, file)) or stated.get(file)
            if want and want != (sha, size):
                found.append(_finding(desk, file, f"{size:,} bytes where {want[1]:,} were put" if size != want[1] else "other bytes than were put there"))
            elif want is None and file.relative_to(desk.lake.home).parts[0] != "landing":
                found.append(_finding(desk, file, "has no entry in the ledger; a step died here", "python -m pipelines maintain enters or removes it"))
        damaged = {f["path"] for f in found}
        needed = dict(_needed(desk, entered, damaged))
        for file, why in needed.items():
            if file not in digests and not file.exists():
                found.append(_finding(desk, file, f"is missing; {why}"))
        damaged = {f["path"] for f in found}
        found += list(_rows(desk, damaged)) + list(_state(desk, damaged))
    if desk.lake.store:
        from pipelines.store import care

        found += care.findings()
    return {"files": len(files), "bytes": sum(size for _, size in digests.values()), "findings": found}


def _quiet(desk: Desk) -> Any:
    """Hold every writer's lock: a file that is just being made is no finding."""
    return backup.all_locks(desk)


def _place(desk: Desk, file: Path) -> str:
    return str(file.relative_to(desk.lake.home))


def _finding(desk: Desk, file: Path, problem: str, remedy: str | None = None) -> Finding:
    return {"path": _place(desk, file), "problem": problem, "remedy": remedy or _remedy(desk, file)}


def _remedy(desk: Desk, file: Path) -> str:
    """What to restore from where; and how to make it anew where that can be done."""
    place, parts = _place(desk, file), file.relative_to(desk.lake.home).parts
    held = backup.newest_with(desk, place)
    restore = f"restore it: python -m pipelines restore {held} --only '{place}'" if held else "no backup entered in the ledger holds it"
    anew = {"landing": "or ask the department to send the same file again: receiving it puts it back",
            "base": f"or replay landing: python -m pipelines rebuild {parts[1]}; the damaged file goes with the last kept release that stands on it", "quarantine": f"or replay landing: python -m pipelines rebuild {parts[1]}",
            "current": "or remove its folder and derive it again: python -m pipelines release"}.get(parts[0])
    if parts[0] == "quarantine" and parts[2:3] == ("tickets",):
        anew = f"or remove it and make the pack again: python -m pipelines feedback {split_key(file.stem)[0]}"
    if parts[:2] == ("releases", "data"):
        anew = "or remove its folder; if the newest release lists it, python -m pipelines release makes it again"
    elif parts[:2] == ("releases", "grants"):
        anew = f"or remove the folder releases/grants/{parts[2]}: python -m pipelines release makes it again while the grant runs"
    elif parts[0] == "releases" and file.name == "lake.duckdb":
        anew = f"or make it anew: python -m pipelines rollback {int(parts[1][1:])}, then go back to the release that was shown"
    if parts[0] == "landing" and file.name not in _stored(file.parent):
        anew = None
    return f"{restore}, {anew}" if anew else restore


def _stored(folder: Path) -> set[str]:
    """The names of a submission's own files; none where its manifest cannot be read."""
    try:
        return {f.stored for f in landing.read_manifest(folder).everything}
    except (WrongUse, KeyError, TypeError):
        return set()


def _stated(desk: Desk) -> dict[Path, tuple[str, int]]:
    """Landing files → what their manifest says; a manifest that cannot be read says nothing and is a finding itself."""
    found = {}
    for path in desk.lake.landing.glob("*/*/*/*/*/manifest.json"):
        try:
            manifest = landing.read_manifest(path.parent)
        except (WrongUse, KeyError, TypeError):
            continue
        found |= {path.parent / f.stored: (f.sha256, f.counts.bytes) for f in manifest.everything}
    return found


def _needed(desk: Desk, entered: Iterable[str], damaged: set[str]) -> Iterator[tuple[Path, str]]:
    """Every file that something refers to, and what does."""
    lake, t, manifests = desk.lake, tables.batches, list(_manifests(desk, damaged))
    for row in desk.ledger.rows(sa.select(t)):
        folder = landing.folder(lake, row["batch_id"], row["revision"])
        yield folder / "manifest.json", f"the ledger has batch {row['batch_id']} r{row['revision']}"
        if (folder / "manifest.json").exists() and _place(desk, folder / "manifest.json") not in damaged:
            for file in landing.read_manifest(folder).everything:
                yield folder / file.stored, "its manifest names it"
        if row["state"] == "accepted" and row["quarantined"]:
            yield committing.quarantine_file(lake, row["batch_id"], row["revision"]), f"batch {row['batch_id']} has quarantined rows"
    for row in desk.ledger.rows(sa.select(tables.feedback)):
        yield tickets.file(lake, row["batch_id"], row["revision"]), f"the pack of batch {row['batch_id']} gave out its tickets"
    for identifier in _tables(desk):
        location = _location(desk, identifier)
        yield location, f"the catalogue names it for {'.'.join(identifier)}"
        metadata = f"base/{'.'.join(identifier)}/metadata/"
        lost = [lake.home / p for p in entered if p.startswith(metadata) and not (lake.home / p).exists()]
        yield from ((path, "it was put there and nothing removed it") for path in lost)
        if location.exists() and not lost and not any(p.startswith(metadata) for p in damaged):
            known = catalogue.iceberg(lake).load_table(identifier)
            newest = known.current_snapshot()
            pinned = {m["relations"].get(".".join(identifier), {}).get("snapshot") for m in manifests} | {newest.snapshot_id if newest else None}
            for path in segments.metadata_files(known) | segments.data_files(known, pinned):     # data of other snapshots goes before they expire
                yield Path(path), "a snapshot of its table names it"
    r = tables.releases
    for row in desk.ledger.rows(sa.select(r.c.release_id).where(r.c.state != "removed")):
        yield publication.folder(lake, row["release_id"]) / "manifest.json", f"the ledger keeps release {row['release_id']}"
    for manifest in manifests:
        for file in changes.listed(manifest):
            yield lake.releases / file["path"], f"release {manifest['release_id']} lists it"
        yield publication.folder(lake, manifest["release_id"]) / "lake.duckdb", f"release {manifest['release_id']} opens it"


def _rows(desk: Desk, damaged: set[str]) -> Iterator[Finding]:
    """Row counts of what is there whole: base against the ledger, current against what it says of itself, releases against their manifests."""
    lake, t = desk.lake, tables.batches
    for identifier in _tables(desk):
        dataset_id = ".".join(identifier)
        if any(p.startswith(f"base/{dataset_id}/") for p in damaged) or not _location(desk, identifier).exists():
            continue
        accepted = {r["batch_id"]: r for r in desk.ledger.rows(sa.select(t).where(t.c.dataset == dataset_id, t.c.state == "accepted"))}
        known = catalogue.iceberg(lake).load_table(identifier)
        held: set[str] = set()
        for version in segments.of(known).values():
            held |= {b for b, _ in version.batches}
            have = sum(_count(Path(f)) for f in version.files)
            row = accepted.get(version.segment)
            want = (row["accepted"] or 0) + (row["deletes"] or 0) if row else version.rows
            if not have == want == version.rows:
                yield _finding(desk, Path(version.files[0]), f"{have:,} rows; its table says {version.rows:,}, the ledger {want:,}")
        for batch_id in sorted(accepted.keys() ^ held):
            file = lake.base / dataset_id
            yield _finding(desk, file, f"batch {batch_id} is {'accepted in the ledger and not in base' if batch_id in accepted else 'in base and not accepted in the ledger'}",
                           f"python -m pipelines ingest {dataset_id} finishes what died, otherwise python -m pipelines rebuild {dataset_id}")
    for facts in lake.current.glob("*/*/current.json"):
        if not {_place(desk, facts), _place(desk, facts.with_name("rows.parquet"))} & damaged and facts.with_name("rows.parquet").exists():
            have, want = _count(facts.with_name("rows.parquet")), _own_rows(json.loads(facts.read_text()))
            if have != want:
                yield _finding(desk, facts.with_name("rows.parquet"), f"{have:,} rows where {want:,} were derived")
    for manifest in _manifests(desk, damaged):
        for file in changes.listed(manifest):
            path = lake.releases / file["path"]
            if path.exists() and f"releases/{file['path']}" not in damaged and _count(path) != file["rows"]:
                yield _finding(desk, path, f"{_count(path):,} rows; release {manifest['release_id']} says {file['rows']:,}")


def _own_rows(facts: dict[str, Any]) -> int:
    """How many rows the file of a derived state holds itself; with a first part before it, not all of them."""
    return facts.get("file_rows", facts["rows"])


def _state(desk: Desk, damaged: set[str]) -> Iterator[Finding]:
    """What is not a file's bytes: the catalogue's own check, the key, what lake.duckdb shows, withdrawals."""
    lake = desk.lake
    if lake.catalogue == SQLITE:
        with desk.ledger.engine.connect() as con:
            said = con.exec_driver_sql("PRAGMA integrity_check").scalar()
        if said != "ok":
            yield _finding(desk, lake.catalog, "SQLite finds it damaged", "restore the lake from a backup: python -m pipelines restore PLACE")
    used = {r["key_id"] for r in desk.ledger.rows(sa.select(tables.batches.c.key_id).where(tables.batches.c.state == "accepted").distinct())} - {None}
    if used - {keys.key_id(lake)}:
        yield _finding(desk, lake.keys / "pseudonym.key", f"is key {keys.key_id(lake)}; accepted batches have pseudonyms of {', '.join(sorted(used))}",
                       "put the right key back from where you keep it")
    shown = publication.shown_release(desk.ledger)
    if shown is not None:
        own = publication.folder(lake, shown) / "lake.duckdb"
        if not lake.database.exists() or (own.exists() and _place(desk, own) not in damaged and digest(own) != digest(lake.database)):
            yield _finding(desk, lake.database, f"is not the database of release {shown}, which it should show", f"python -m pipelines rollback {shown}")
    for row in withdrawal.unfinished(desk.ledger):
        yield {"path": "releases", "problem": f"withdrawal {row['id']} of {row['dataset']} died on the way", "remedy": "python -m pipelines release finishes it"}
    for path, rows in withdrawal.left(lake, desk.ledger, _manifests(desk, damaged), damaged):
        yield _finding(desk, path, f"holds {rows} withdrawn records", "withdraw them again: python -m pipelines withdraw")


def _tables(desk: Desk) -> list[tuple[str, ...]]:
    """The tables of the catalogue that have a contract."""
    found = catalogue.iceberg(desk.lake)
    known = {d.id for d in datasets(desk.project)}
    return sorted(i for space in found.list_namespaces() for i in found.list_tables(space) if ".".join(i) in known)


def _location(desk: Desk, identifier: tuple[str, ...]) -> Path:
    return Path(local(catalogue.metadata_location(desk.lake, identifier), kept_in(desk.lake.store, str(desk.lake.home))))


def _manifests(desk: Desk, damaged: set[str]) -> Iterator[dict[str, Any]]:
    for path in sorted(desk.lake.releases.glob("r*/manifest.json")):
        if _place(desk, path) not in damaged:
            yield json.loads(path.read_text("utf-8"))


def _count(file: Path) -> int:
    """Rows of a Parquet file, -1 when its footer cannot be read."""
    try:
        return pq.read_metadata(file).num_rows
    except (OSError, pa.ArrowException):
        return -1
