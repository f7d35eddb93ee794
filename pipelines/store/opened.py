"""What analysts open of a lake in an object store: per kept release a database of views over s3:// addresses, and `lake.duckdb`, that of the release shown.

Each is made from the release's manifest as the local one is, and tried by reading the store. It is put under its digest, named by the state, and copied
to its place when the head has moved; so at every instant the place holds a database whose files are there.
"""
from __future__ import annotations

import hashlib
import json
from contextlib import closing
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import sqlalchemy as sa

from pipelines import catalogue, database, ledger_tables as tables
from pipelines.backup import CATALOGUE
from pipelines.copying import digest
from pipelines.settings import Lake
from pipelines.store.bucket import Address, Bucket

SHOWN = "lake.duckdb"


def make(bucket: Bucket, lake: Lake, after: dict[str, Any], known: dict[str, dict[str, str]], folder: Path) -> dict[str, dict[str, str]]:
    """Make and put the databases that are new in a state; the files they read are put.

    Args:
        after: the state, without its databases.
        known: those of the state before.
        folder: the files that have changed since, and the catalogue, as they were at the moment of the state.

    Returns:
        Place → {"key", "sha256", "made_of"} of every database of the state.
    """
    moved = {p: e["key"] for p, e in after["files"].items() if p.startswith("releases/") and e["key"] != p}
    found: dict[str, dict[str, str]] = {}
    for path in sorted(p for p in after["files"] if PurePosixPath(p).match("releases/r*/manifest.json")):
        place, content = str(PurePosixPath(path).with_name("lake.duckdb")), _bytes(path, lake, folder)
        if hashlib.sha256(content).hexdigest() != after["files"][path]["sha256"]:
            found |= {place: known[place]} if place in known else {}      # changed since the moment of this state: the next one has it
            continue
        told = _told(json.loads(content), {p.removeprefix("releases/"): k.removeprefix("releases/") for p, k in moved.items()})
        made_of = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        found[place] = known[place] if known.get(place, {}).get("made_of") == made_of else _one(bucket, lake, told, folder / "opened.duckdb") | {"made_of": made_of}
    place = _shown(folder)
    return found | ({SHOWN: found[place]} if place in found else {})


def _bytes(path: str, lake: Lake, folder: Path) -> bytes:
    """A file as it was at the moment of a state, or as it is now where it had not changed since the state before."""
    file = next((p for p in (folder / path, lake.home / path) if p.exists()), None)
    return file.read_bytes() if file else b""


def _shown(folder: Path) -> str | None:
    """The place of the release that the ledger showed at the moment of a state."""
    r = tables.releases
    with closing(catalogue.sqlite(folder / CATALOGUE).connect()) as con:
        shown = con.execute(sa.select(r.c.release_id).where(r.c.state == "published")).scalar()
    return None if shown is None else f"releases/r{shown:06d}/lake.duckdb"


def show(bucket: Bucket, state: dict[str, Any]) -> None:
    """Copy the databases of a state to their places, where they are not there already."""
    for place, one in state["opened"].items():
        if bucket.digest(place) != one["sha256"]:
            bucket.copy(one["key"], place, one["sha256"])


def named(state: dict[str, Any]) -> set[str]:
    """The objects that a state needs for its databases."""
    return {key for place, one in state["opened"].items() for key in (place, one["key"])}


def _one(bucket: Bucket, lake: Lake, manifest: dict[str, Any], file: Path) -> dict[str, str]:
    database.build(manifest, lake, file, root=Address(bucket.url / "releases"), prepare=bucket.lend)
    sha, _ = digest(file)
    key = f"objects/{sha[:2]}/{sha}"
    bucket.send(file, key, sha)
    file.unlink()
    return {"key": key, "sha256": sha}


def _told(said: Any, moved: dict[str, str]) -> Any:
    """What a manifest says, with the places of files as they are in the store."""
    if isinstance(said, dict):
        return {k: _told(v, moved) for k, v in said.items()}
    if isinstance(said, list):
        return list(map(partial(_told, moved=moved), said))
    return moved.get(said, said) if isinstance(said, str) else said
