"""Backup and restore: the lake of one moment, in a folder elsewhere.

PLACE/objects/ab/<sha256> holds every distinct file once, PLACE/backups/b000001.json says which file lies where in the
lake, and names the copy of ledger and catalogue (SQLite, whatever the lake itself uses). The moment is fixed by hard
links while all writers wait, seconds; copying goes on without them. Keys are never in a backup: whoever has both can
rebuild persons. Left out is what is made again: staging, locks, Airflow's own files.
"""
from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines import catalogue, durable, keys, ledger_tables as tables
from pipelines.committing import deriving
from pipelines.contract import datasets
from pipelines.copying import CHUNK
from pipelines.desk import Desk
from pipelines.ledger import now
from pipelines.locks import writer
from pipelines.settings import FORMAT, POSTGRESQL, SQLITE, Lake, WrongUse, lake_store
from pipelines.staged_batches import judging
from pipelines.version import code_version

KEPT = ("inbox", "landing", "base", "current", "quarantine", "releases", "reports", "outbox")
CATALOGUE = "catalog.db"


@contextmanager
def all_locks(desk: Desk, local: bool = False) -> Iterator[None]:
    """Hold every writer's lock, in the order in which steps take them.

    Args:
        local: the locks of a SQLite catalogue, whatever the setting says: that is what writers hold until it has moved.
    """
    ids = [d.id for d in datasets(desk.project)]
    with ExitStack() as stack:
        for name in ("release", *(f"receive-{i}" for i in ids), *map(judging, ids), *ids, *map(deriving, ids), "reports"):
            stack.enter_context(writer(desk.lake, name, local=local))
        yield


def backup(place: Path, desk: Desk | None = None) -> dict[str, Any]:
    """Copy the lake into `place`; what an earlier backup there holds is not copied again.

    Returns:
        {"backup": name, "place", "files", "bytes", "copied" (files), "key_id"}.

    Raises:
        WrongUse: `place` is inside the lake.
    """
    desk = desk or Desk.open()
    lake, place = desk.lake, place.resolve()
    if place == lake.home or lake.home in place.parents:
        raise WrongUse(f"{place} is inside the lake. A backup belongs on another disk.")
    (place / "backups").mkdir(parents=True, exist_ok=True)
    place.chmod(0o700)
    with writer(lake, "backup"):
        links = lake.staging / ".backup"
        shutil.rmtree(links, ignore_errors=True)
        with all_locks(desk):
            _link(lake, links)
            catalogue.copy(desk.ledger.engine, catalogue.sqlite(links / CATALOGUE))
        earlier = sorted((place / "backups").glob("b*.json"))
        known = {tuple(f["seen"]): f["sha256"] for f in json.loads(earlier[-1].read_text())["files"]} if earlier else {}
        files, copied = [], 0
        for path in sorted(p for p in links.rglob("*") if p.is_file()):
            entry, fresh = _store(path, str(path.relative_to(links)), place, known)
            files.append(entry)
            copied += fresh
        name = f"b{int(earlier[-1].stem[1:]) + 1 if earlier else 1:06d}"
        facts = {"backup": name, "home": str(lake.home), "format": FORMAT, "made_at": now(), "code_version": code_version(),
                 "key_id": keys.key_id(lake), "mark": json.loads((lake.home / "lake.json").read_text()), "files": files}
        durable.write(place / "backups" / f"{name}.json", json.dumps(facts, ensure_ascii=False))
        shutil.rmtree(links)
        size = sum(f["bytes"] for f in files)
        with desk.ledger.transaction() as con:
            con.execute(tables.backups.insert().values(name=name, place=str(place), made_at=facts["made_at"], files=len(files), bytes=size))
    return {"backup": name, "place": str(place), "files": len(files), "bytes": size, "copied": copied, "key_id": facts["key_id"]}


def restore(place: Path, home: Path, name: str | None = None) -> dict[str, Any]:
    """Make the lake of a backup again at the path it had, which must be empty but for `keys/`.

    A restore that died is begun anew by calling it again: until the end there is no `lake.json`, and no step works there.

    Args:
        name: which backup; the newest by default.

    Raises:
        WrongUse: there is no such backup, its files are damaged, `home` is another path or not empty, or the key is not the lake's.
    """
    facts = _facts(place, name)
    kept = facts["mark"].get("store")
    if kept != lake_store():
        raise WrongUse(f"The lake of {facts['backup']} was {f'kept in {kept}' if kept else 'on a disk'}, and its tables say so. Set LAKE_HOME={kept or facts['home']}.")
    if str(home) != facts["home"]:
        raise WrongUse(f"The lake of {facts['backup']} was at {facts['home']} and its tables hold that path. Set {'LAKE_WORK' if kept else 'LAKE_HOME'} to it (or mount it there).")
    mark = home / "restoring"
    strange = [p.name for p in home.iterdir() if p.name != "keys"] if home.exists() and not mark.exists() else []
    if strange:
        raise WrongUse(f"{home} is not empty ({', '.join(sorted(strange)[:5])}). Move it away first; nothing was changed.")
    home.mkdir(parents=True, exist_ok=True)
    mark.write_text(facts["backup"])
    lake = Lake(home)
    lake.make_folders()
    check_key(lake, facts)
    for file in facts["files"]:
        if file["path"] != CATALOGUE:
            _bring(place, file, home / file["path"])
    kind = POSTGRESQL if os.environ.get(catalogue.SETTING) else SQLITE
    for suffix in ("", "-wal", "-shm"):
        Path(f"{lake.catalog}{suffix}").unlink(missing_ok=True)
    inside = next(f for f in facts["files"] if f["path"] == CATALOGUE)
    target = lake.catalog if kind == SQLITE else lake.staging / CATALOGUE
    _bring(place, inside, target)
    if kind == POSTGRESQL:
        catalogue.copy(catalogue.sqlite(target), catalogue.postgresql(lake, facts["mark"]["id"]))
        target.unlink()
    durable.write(home / "lake.json", json.dumps(facts["mark"] | {"catalogue": kind}))
    mark.unlink()
    return {"backup": facts["backup"], "made_at": facts["made_at"], "files": len(facts["files"]), "bytes": sum(f["bytes"] for f in facts["files"]),
            "home": str(home), "catalogue": kind}


def restore_files(place: Path, paths: list[str], name: str | None, desk: Desk) -> dict[str, Any]:
    """Put single files back, as `verify` names them: from the named backup, or the newest that has them.

    Raises:
        WrongUse: a path is in no backup there, or is not what the ledger says belongs there now.
    """
    entered = {r["path"]: r["sha256"] for r in desk.ledger.rows(sa.select(tables.objects))}
    chosen: list[tuple[dict[str, Any], str]] = []
    for path in paths:
        held = [(f, facts["backup"]) for facts in ([_facts(place, name)] if name else _all(place)) for f in facts["files"] if f["path"] == path]
        if not held:
            raise WrongUse(f"No backup in {place} holds {path!r}. Paths are as verify names them. Nothing was changed.")
        right = [h for h in held if entered.get(path, h[0]["sha256"]) == h[0]["sha256"]]
        if not right:
            raise WrongUse(f"{path} has changed since the backups in {place}: none holds what the ledger says belongs there. Nothing was changed.")
        chosen.append(right[-1])
    with all_locks(desk):
        for file, _ in chosen:
            target = desk.lake.home / file["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            _bring(place, file, target)
    return {"restored": [{"path": f["path"], "backup": b} for f, b in chosen]}


def newest_with(desk: Desk, path: str) -> str | None:
    """The place of the newest backup in the ledger that holds a path and can be read now, quoted for a shell."""
    import shlex

    for row in desk.ledger.rows(sa.select(tables.backups).order_by(tables.backups.c.id.desc())):
        listed = Path(row["place"]) / "backups" / f"{row['name']}.json"
        if listed.exists() and any(f["path"] == path for f in json.loads(listed.read_text())["files"]):
            return shlex.quote(row["place"])
    return None


def _link(lake: Lake, links: Path) -> None:
    """Hard links to every kept file: the moment of the backup, whatever is renamed or removed afterwards."""
    for root in KEPT:
        for path in sorted((lake.home / root).rglob("*")):
            if path.is_file() and not path.is_symlink():
                target = links / path.relative_to(lake.home)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(path, target)
    links.mkdir(parents=True, exist_ok=True)
    if lake.database.exists():
        os.link(lake.database, links / lake.database.name)


def _store(path: Path, relative: str, place: Path, known: dict[tuple, str]) -> tuple[dict[str, Any], bool]:
    """The entry of one file, its bytes stored unless they are; the second value tells whether they were."""
    stat = path.stat()
    seen = (relative, stat.st_size, stat.st_mtime_ns)
    sha = known.get(seen)
    fresh = sha is None or not _object(place, sha).exists()
    if fresh:
        sha = _copy(path, place / "objects" / ".part")
        if _object(place, sha).exists():
            fresh = False
        else:
            _object(place, sha).parent.mkdir(parents=True, exist_ok=True)
            durable.replace(place / "objects" / ".part", _object(place, sha))
    return {"path": relative, "sha256": sha, "bytes": stat.st_size, "mode": stat.st_mode & 0o777, "seen": seen}, fresh


def _bring(place: Path, file: dict[str, Any], target: Path) -> None:
    """Put one file of a backup in its place."""
    source, what = _object(place, file["sha256"]), "a file of the inbox" if file["path"].startswith("inbox/") else file["path"]
    if not source.exists():
        raise WrongUse(f"The backup lacks the object {file['sha256'][:16]}… of {what}. Use another backup.")
    beside = target.with_name(f".{target.name}.part")
    beside.parent.mkdir(parents=True, exist_ok=True)
    if _copy(source, beside) != file["sha256"]:
        beside.unlink()
        raise WrongUse(f"The backup is damaged: the object {file['sha256'][:16]}… of {what} has other bytes. Use another backup.")
    beside.chmod(file["mode"])
    durable.replace(beside, target)


def _copy(source: Path, target: Path) -> str:
    """Copy a file; returns its SHA-256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with open(source, "rb") as read, open(target, "wb") as write:
        while chunk := read.read(CHUNK):
            digest.update(chunk)
            write.write(chunk)
    return digest.hexdigest()


def _object(place: Path, sha: str) -> Path:
    return place / "objects" / sha[:2] / sha


def _all(place: Path) -> list[dict[str, Any]]:
    """Every backup in a place, oldest first."""
    return [json.loads(p.read_text()) for p in sorted((place / "backups").glob("b*.json"))]


def _facts(place: Path, name: str | None) -> dict[str, Any]:
    found = {p.stem: p for p in sorted((place / "backups").glob("b*.json"))}
    wanted = name or max(found, default=None)
    if wanted not in found:
        raise WrongUse(f"There is no backup {name or ''} in {place}. It holds: {', '.join(found) or 'none'}.")
    facts = json.loads(found[wanted].read_text())
    if facts["format"] > FORMAT:
        raise WrongUse(f"{wanted} has lake format {facts['format']}; this program knows {FORMAT}. Upgrade the program.")
    return facts


def check_key(lake: Lake, facts: dict[str, Any]) -> None:
    """With another key every new pseudonym would be another person's.

    Args:
        facts: `key_id`, the name of the key under which the lake was kept.

    Raises:
        WrongUse: this machine has another key, or none.
    """
    given = bool(os.environ.get("LAKE_PSEUDONYM_KEY")) or (lake.keys / "pseudonym.key").exists()
    if not given or keys.key_id(lake) != facts["key_id"]:
        raise WrongUse(f"Put the pseudonym key {facts['key_id']} into {lake.keys}/pseudonym.key (or LAKE_PSEUDONYM_KEY) first; a backup never holds it. "
                       f"Found: {'another key' if given else 'none'}.")
