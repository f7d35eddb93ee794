"""How a working folder and the object store come in step: claim and bring at the beginning of a session, put and move the head at its end.

Order of a put: the files that are new, the list of all (the state), the databases for analysts, the head, then what only shows: `lake.duckdb` at its
place, and the removal of objects that the new state does not name. Only the head decides; what comes after it is done again by the next session.
"""
from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines import keys
from pipelines.catalogue import SETTING
from pipelines.copying import digest
from pipelines.desk import Desk
from pipelines.settings import POSTGRESQL, Lake, Later, Project, WrongUse
from pipelines.store import head as heads, opened
from pipelines.store.bucket import Bucket, Taken
from pipelines.store.folder import AT_ONCE, Entry, Folder, Seen
from pipelines.store.head import Head

PLACED = ("landing", "base", "current", "quarantine", "releases")      # written once; the rest is written over and lies by its digest
GRANTS = "releases/grants/"      # not for those who may read releases/
NEW: dict[str, Any] = {"files": {}, "opened": {}}


def open_up(bucket: Bucket, folder: Folder) -> None:
    """Claim the lake for this folder and bring the folder in step. The caller is alone in it.

    Raises:
        WrongUse: the folder has work that was never put, and the lake has gone on without it.
    """
    _refuse_postgresql()
    name = folder.facts["folder"]
    found = heads.read(bucket)
    if found is None:
        if folder.facts["state"]:
            raise WrongUse(f"{bucket.url} is empty, and {folder.home} follows a lake there. Look what became of the bucket; nothing was changed.")
        heads.begin(bucket, name)
        Lake.open()
    else:
        claimed = heads.claim(bucket, found, name)
        try:
            _follow(bucket, folder, claimed)
            if found.writer:      # a session died
                sweep(bucket, claimed)
            opened.show(bucket, state_of(bucket, claimed))
        except Exception:
            if not found.writer:
                heads.release(bucket, claimed)
            raise
    folder.note(changing=True)


def is_open(bucket: Bucket, folder: Folder) -> bool:
    """Has another process of this machine claimed the lake for the folder?"""
    return _is_ours(heads.read(bucket), folder)


def follow(bucket: Bucket, folder: Folder) -> None:
    """Bring the folder in step, to look at it only; what was not put yet stays.

    Raises:
        WrongUse: there is no lake yet.
    """
    _refuse_postgresql()
    found = heads.read(bucket)
    if found is None or (found.state is None and folder.facts["state"] is None and not folder.facts["changing"]):
        raise WrongUse(f"There is no lake at {bucket.url} yet. Take something in first: python -m pipelines receive")
    if not folder.facts["changing"]:
        _follow(bucket, folder, found)


def _follow(bucket: Bucket, folder: Folder, found: Head) -> None:
    facts = folder.facts
    key = found.state[0] if found.state else None
    if key == facts["state"] and not (folder.home / "restoring").exists():
        return
    if key and facts["changing"] and state_of(bucket, found)["folder"] == facts["folder"]:
        folder.adopt(key)
        return
    if facts["changing"]:
        raise WrongUse(f"{folder.home} has work that never reached {bucket.url}, and another machine has gone on there. Move the folder away and run the command again; "
                       "submissions that only it has lie in its landing/.")
    if key:
        folder.bring(bucket, state_of(bucket, found), key)


def take_over(bucket: Bucket, folder: Folder) -> dict[str, Any]:
    """Claim the lake although another machine has it; what that one did not finish never becomes visible."""
    found = heads.read(bucket)
    if found is None:
        raise WrongUse(f"There is no lake at {bucket.url} yet.")
    before = found.writer
    heads.claim(bucket, found, folder.facts["folder"], anyway=True)
    return {"taken_from": before["host"] if before else None}


def publish(bucket: Bucket, folder: Folder, again: bool = False) -> bool:
    """Put what has changed in the folder and move the head; False when nothing has.

    Args:
        again: make what analysts open anew in any case.

    Raises:
        Later: the claim was taken over meanwhile.
    """
    desk, moment = Desk(Project.open(), Lake.open()), folder.home / "staging" / ".store"
    with _one_at_a_time(folder):
        found = heads.read(bucket)
        if not _is_ours(found, folder):
            raise Later(f"{bucket.url}: another machine took over. Nothing of this one was made visible since. Run the command again.")
        known = {p: Entry(**e) for p, e in state_of(bucket, found)["files"].items()}
        seen, linked = folder.moment(desk, moment)
        files = {p: known[p] for p in seen.keys() - linked} | _entries(linked, moment, known)
        changed = {p for p in files.keys() | known.keys() if p not in files or p not in known or known[p].key != files[p].key}
        if changed or not found.state or again:
            _send(bucket, found, moment, {p: files[p] for p in changed & files.keys()})
            after = {"format": heads.FORMAT, "home": str(folder.home), "folder": folder.facts["folder"], "key_id": keys.key_id(desk.lake),
                     "files": {p: e.told() for p, e in sorted(files.items())}}
            _advance(bucket, folder, desk, found, after, changed, seen, again)
        shutil.rmtree(moment)
    return bool(changed)


def _advance(bucket: Bucket, folder: Folder, desk: Desk, found: Head, after: dict[str, Any], changed: set[str], seen: dict[str, Seen], again: bool) -> None:
    """Let the lake be in a state whose files are put, and show it to analysts."""
    before = state_of(bucket, found)
    if again or any(p == opened.SHOWN or p.startswith("releases/") for p in changed):
        after["opened"] = opened.make(bucket, desk.lake, after, {} if again else before["opened"], folder.home / "staging" / ".store")
    else:
        after["opened"] = before["opened"]
    moved = _move_head(bucket, found, after)
    folder.enter({p: Entry(**e) for p, e in after["files"].items()}, seen)
    folder.note(state=moved.state[0])
    opened.show(bucket, after)
    bucket.remove(_named(before, found) - _named(after, moved))


def _is_ours(found: Head | None, folder: Folder) -> bool:
    return bool(found and found.writer and found.writer["folder"] == folder.facts["folder"])


def give_back(bucket: Bucket, folder: Folder) -> None:
    """Let other machines claim the lake; all is put. The caller is alone in the folder."""
    found = heads.read(bucket)
    if _is_ours(found, folder) and found.state and found.state[0] == folder.facts["state"]:
        heads.release(bucket, found)
        folder.note(changing=False)


def state_of(bucket: Bucket, found: Head) -> dict[str, Any]:
    """The state that the head names; an empty one before the first.

    Raises:
        WrongUse: it is gone or is not what was put.
    """
    if not found.state:
        return NEW
    key, sha = found.state
    got = bucket.get(key)
    if got is None or hashlib.sha256(got[0]).hexdigest() != sha:
        raise WrongUse(f"{bucket.url}/{key} is missing or has other bytes than were put there. Bring it back from the bucket's versions or from a backup; nothing was changed.")
    return json.loads(got[0])


def sweep(bucket: Bucket, found: Head) -> int:
    """Remove what the head's state does not name. Only who has the claim may: nothing that another put can become visible any more."""
    named = _named(state_of(bucket, found), found) | {heads.KEY}
    return bucket.remove(k for k in bucket.keys() if k not in named and k.partition("/")[0] in (*PLACED, "objects", "states"))


def _named(state: dict[str, Any], found: Head) -> set[str]:
    """The objects that a state stands on."""
    return {e["key"] for e in state["files"].values()} | opened.named(state) | ({found.state[0]} if found.state else set())


def _entries(paths: set[str], moment: Path, known: dict[str, Entry]) -> dict[str, Entry]:
    """What the linked files are, and where each is to lie."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        digests = dict(zip(paths, pool.map(lambda p: digest(moment / p), paths)))
    return {p: Entry(_key(p, sha, known.get(p)), sha, size, (moment / p).stat().st_mode & 0o777) for p, (sha, size) in digests.items()}


def _key(path: str, sha: str, before: Entry | None) -> str:
    """Where a file lies. One that took the place of another gets a place of its own: until the head moves, the other counts.

    Raises:
        WrongUse: a file of base is not what it was; tables name it by its place.
    """
    placed = PurePosixPath(path)
    if placed.parts[0] not in PLACED or placed.suffix == ".duckdb" or path.startswith(GRANTS):
        return f"objects/{sha[:2]}/{sha}"
    if before is None or before.sha256 == sha:
        return before.key if before else path
    if placed.parts[0] == "base":
        raise WrongUse(f"{path} is not what it was and was not put. See what happened to it, and how to restore it: python -m pipelines verify")
    return str(placed.with_stem(f"{placed.stem}~{sha[:16]}"))


def _send(bucket: Bucket, found: Head, moment: Path, fresh: dict[str, Entry]) -> None:
    """Put files; one that a dead try left whole is there already, anything else there is of no use to anybody."""
    def send(one: tuple[str, Entry]) -> None:
        path, entry = one
        try:
            bucket.send(moment / path, entry.key, entry.sha256, new=True)
        except Taken:
            if bucket.digest(entry.key) == entry.sha256:
                return
            if heads.read(bucket) != found:      # it may be of the machine that took over
                raise Later(f"{bucket.url}: another machine took over. Run the command again.") from None
            bucket.send(moment / path, entry.key, entry.sha256)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(send, fresh.items()))


def _move_head(bucket: Bucket, found: Head, after: dict[str, Any]) -> Head:
    content = json.dumps(after, ensure_ascii=False, separators=(",", ":")).encode()
    key = f"states/{found.generation + 1:08d}-{secrets.token_hex(4)}.json"
    bucket.put(key, content)
    return heads.advance(bucket, found, (key, hashlib.sha256(content).hexdigest()))


@contextmanager
def _one_at_a_time(folder: Folder) -> Iterator[None]:
    """Processes of one machine put one after the other."""
    with open(folder.own / "put.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _refuse_postgresql() -> None:
    if os.environ.get(SETTING):
        raise WrongUse(f"{SETTING} is set ({POSTGRESQL}) and LAKE_HOME is in an object store, which keeps the catalogue itself. Unset {SETTING}, or keep the lake on a disk.")
