"""The working folder: what of it is kept in the object store, what has changed there since, and how it is brought in step.

.store/work.json       the folder's own name, the state it was last brought to or put as
.store/index.json      path → key, SHA-256, size, mode and time of each file of that state as it lies here
Kept is what a backup keeps, without the inbox: nothing in it has been received yet. Keys and locks never leave the machine.
"""
from __future__ import annotations

import json
import os
import secrets
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines import backup, catalogue, durable
from pipelines.copying import digest
from pipelines.desk import Desk
from pipelines.settings import OF_STORE, Lake, WrongUse
from pipelines.store.bucket import Bucket

ROOTS = tuple(r for r in backup.KEPT if r != "inbox")
CATALOGUE, MARK = backup.CATALOGUE, "lake.json"
AT_ONCE = 8
Seen = tuple[int, int, int]      # inode, size and time of a file: it is another one when any of them is


@dataclass(frozen=True)
class Entry:
    """One file of a state."""

    key: str
    sha256: str
    size: int
    mode: int

    def told(self) -> dict[str, Any]:
        return asdict(self)


class Folder:
    """The working folder at `home`."""

    def __init__(self, home: Path):
        self.home, self.own = home, home / OF_STORE
        self.own.mkdir(parents=True, exist_ok=True)
        self.own.chmod(0o700)
        if not (self.own / "work.json").exists():
            durable.write(self.own / "work.json", json.dumps({"folder": secrets.token_hex(8), "state": None, "changing": False}))

    @property
    def facts(self) -> dict[str, Any]:
        """{"folder": its name, "state": key of the state it follows, "changing": whether it may be ahead of that}."""
        return json.loads((self.own / "work.json").read_text())

    def note(self, **facts: Any) -> None:
        """Change the facts."""
        durable.write(self.own / "work.json", json.dumps(self.facts | facts))

    def index(self) -> dict[str, dict[str, Any]]:
        """What lies here of the state it follows."""
        file = self.own / "index.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def enter(self, files: dict[str, Entry], seen: dict[str, Seen]) -> None:
        """Write down the files of a state.

        Args:
            seen: what tells whether one has changed since it was as it is in the state.
        """
        durable.write(self.own / "index.json", json.dumps({p: e.told() | {"seen": seen.get(p)} for p, e in files.items()}))

    def adopt(self, key: str) -> None:
        """Follow a state that was put from here by a process that died before it could say so; what lies here is compared anew."""
        durable.write(self.own / "index.json", "{}")
        self.note(state=key)

    def listed(self) -> dict[str, Seen]:
        """Path → what tells whether a file has changed, of all that is kept but the catalogue."""
        found = [p for root in ROOTS for p in (self.home / root).rglob("*") if _complete(p, self.home)]
        found += [p for p in (self.home / MARK, Lake(self.home).database) if p.exists()]
        return {str(p.relative_to(self.home)): _seen(p) for p in found}

    def moment(self, desk: Desk, place: Path) -> tuple[dict[str, Seen], set[str]]:
        """Link what has changed since the state it follows into `place`, with a copy of the catalogue, while every writer waits.

        Returns:
            The paths that are there now, as `listed`, and those of them that were linked; the catalogue is among these.
        """
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        desk.ledger.engine.connect().close()      # there is a catalogue
        known = {p: tuple(e["seen"] or ()) for p, e in self.index().items()}
        with backup.all_locks(desk):
            now = self.listed()
            changed = {p for p, seen in now.items() if known.get(p) != seen}
            for path in changed:
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                os.link(self.home / path, place / path)
            with closing(sqlite3.connect(desk.lake.catalog)) as read, closing(sqlite3.connect(place / CATALOGUE)) as write:
                read.backup(write)
        return now, changed | {CATALOGUE}

    def bring(self, bucket: Bucket, state: dict[str, Any], key: str) -> int:
        """Make the folder what a state says; a death on the way is made good by the next try. Returns how many files were fetched.

        Raises:
            WrongUse: the state belongs to another path or another pseudonym key, or an object is not what was put.
        """
        if state["home"] != str(self.home):
            raise WrongUse(f"The files of {bucket.url} name the folder {state['home']}. Set LAKE_WORK={state['home']} on every machine.")
        Lake(self.home).make_folders()
        backup.check_key(Lake(self.home), state)
        self.note(state=None)
        (self.home / "restoring").write_text(key)
        files, here = {p: Entry(**e) for p, e in state["files"].items()}, self.index()
        wanted = [(p, e) for p, e in files.items() if p == CATALOGUE or not self._has(p, e, here.get(p))]
        for suffix in ("-wal", "-shm"):
            Path(f"{self.home / CATALOGUE}{suffix}").unlink(missing_ok=True)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda one: self._fetch(bucket, *one), wanted))
        catalogue.forget()
        for path in set(self.listed()) - set(files):
            (self.home / path).unlink()
        self._remove_empty()
        self.enter(files, self.listed())
        self.note(state=key, changing=False)
        (self.home / "restoring").unlink()
        return len(wanted)

    def _has(self, path: str, entry: Entry, here: dict[str, Any] | None) -> bool:
        """Does the file lie here as it is in a state?"""
        file = self.home / path
        if not file.exists():
            return False
        if here and here["sha256"] == entry.sha256 and tuple(here["seen"] or ()) == _seen(file):
            return True
        return digest(file) == (entry.sha256, entry.size)

    def _fetch(self, bucket: Bucket, path: str, entry: Entry) -> None:
        target = self.home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.part")
        if bucket.fetch(entry.key, beside) != entry.sha256:
            beside.unlink()
            raise WrongUse(f"{bucket.url}/{entry.key} is missing or has other bytes than were put there. A machine that has them puts them back: python -m pipelines store --mend")
        beside.chmod(entry.mode)
        durable.replace(beside, target)

    def _remove_empty(self) -> None:
        for root in ROOTS:
            for path in sorted((self.home / root).rglob("*"), reverse=True):
                if path.is_dir() and not any(path.iterdir()):
                    path.rmdir()


def _complete(path: Path, home: Path) -> bool:
    """A file that is there to stay, not one that is being written."""
    return path.is_file() and not path.is_symlink() and not any(p.endswith(".part") for p in path.relative_to(home).parts)


def _seen(path: Path) -> Seen:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
