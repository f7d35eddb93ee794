"""Where things are: the project (contracts, rules, code lists, views) and the lake (data).

The project root is `LAKE_PROJECT` or the repository; the lake is `LAKE_HOME` or `./lake` under the project. With
`LAKE_HOME=s3://bucket/prefix` what is kept lies there, and steps work in a local folder, `LAKE_WORK` (`pipelines.store`).
A lake records its own absolute path at init; opening it elsewhere is refused, because Iceberg metadata and
published views hold absolute paths.
"""
from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRIVATE = ("landing", "staging", "base", "current", "quarantine", "keys", "locks")
SHARED = ("inbox", "releases", "reports", "outbox")
DELIVERED = ("inbox", "outbox")      # as departments send it and get it back: nothing is masked there
FORMAT = 2
SQLITE, POSTGRESQL = "sqlite", "postgresql"
OF_STORE = ".store"                  # what the working folder of an object store knows of it


class WrongUse(Exception):
    """A person asked for something that cannot be done; the message says what and what to do instead."""


class LockLost(Exception):
    """The database ended the connection that held a writer's lock: another writer may be at work."""


class Later(WrongUse):
    """It cannot be done now, and nobody has to change anything: the same call may succeed later."""


def account_cache() -> Path:
    """Where this account keeps what can be made again: `~/.cache/government-lake` (XDG_CACHE_HOME). Nothing in it is believed without its digest."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "government-lake"


@dataclass(frozen=True)
class Project:
    """The declared half of the system: `warehouse/` and `expectations/` under one root."""

    root: Path

    @classmethod
    def open(cls, root: str | Path | None = None) -> Project:
        """Open the project at `root`, `$LAKE_PROJECT` or the repository itself.

        Raises:
            WrongUse: there is no `warehouse/contracts` folder.
        """
        found = Path(root or os.environ.get("LAKE_PROJECT") or Path(__file__).resolve().parent.parent).resolve()
        if not (found / "warehouse" / "contracts").is_dir():
            raise WrongUse(f"{found} is not a lake project: it has no warehouse/contracts folder. Set LAKE_PROJECT.")
        return cls(found)

    @property
    def contracts(self) -> Path:
        return self.root / "warehouse" / "contracts"

    @property
    def expectations(self) -> Path:
        return self.root / "expectations"

    @property
    def reference(self) -> Path:
        return self.root / "warehouse" / "reference"

    @property
    def views(self) -> Path:
        return self.root / "warehouse" / "views"

    @property
    def macros(self) -> Path:
        return self.root / "warehouse" / "macros"


def lake_store() -> str | None:
    """The object store that `$LAKE_HOME` names (`s3://bucket/prefix`), None when it names a folder.

    Raises:
        WrongUse: it is an address of another kind.
    """
    given = os.environ.get("LAKE_HOME", "").rstrip("/")
    if "://" in given and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]+(/[A-Za-z0-9_.-]+)+", given):
        raise WrongUse("LAKE_HOME must be a folder, or s3://bucket/prefix with a prefix of letters, digits and _ . - /.")
    return given if "://" in given else None


def lake_home() -> Path:
    """The folder that steps work in: `$LAKE_HOME` or `./lake` of the repository; with an object store `$LAKE_WORK`, or one in the account's cache."""
    store = lake_store()
    if store:
        own = f"{store.rpartition('/')[2]}-{hashlib.sha256(store.encode()).hexdigest()[:8]}"
        return Path(os.environ.get("LAKE_WORK") or Path.home() / ".cache" / "lake" / own).resolve()
    return Path(os.environ.get("LAKE_HOME") or Path(__file__).resolve().parent.parent / "lake").resolve()


@dataclass(frozen=True)
class Lake:
    """The data half: every path under `LAKE_HOME`."""

    home: Path

    @classmethod
    def open(cls, home: str | Path | None = None) -> Lake:
        """Open the lake at `home`, `$LAKE_HOME` or `./lake` of the repository, creating it when it is new.

        Raises:
            WrongUse: the folder holds a lake that was made at another path or by a newer format, or it is not yet, or not only, an object store's.
        """
        root, store = (Path(home).resolve(), None) if home else (lake_home(), lake_store())
        lake = cls(root)
        if store and not (root / OF_STORE / "work.json").exists():
            raise WrongUse(f"The lake {store} has not been brought to this machine. Run: python -m pipelines status")
        if (root / "restoring").exists():
            again = "restore` again" if not store else "status`"
            raise WrongUse(f"{root} is being restored from {store or 'a backup'}. If that died, run `python -m pipelines {again}.")
        mark = root / "lake.json"
        if not mark.exists():
            lake._create(mark, store)
        made = json.loads(mark.read_text())
        if made.get("store") != store:
            raise WrongUse(f"{root} is the folder that steps of {made['store']} work in. Set LAKE_HOME={made['store']}." if made.get("store") else
                           f"{root} holds a lake of its own. Set LAKE_WORK to another folder for {store}.")
        if made["format"] > FORMAT:
            raise WrongUse(f"{root} has lake format {made['format']}; this program knows {FORMAT}. Upgrade the program.")
        if made["format"] < FORMAT:
            raise WrongUse(f"{root} has lake format {made['format']}, whose base is laid out otherwise than this program's ({FORMAT}). Make a new lake at another "
                           "path and receive again what lies in its landing/, oldest first.")
        if made["home"] != str(root):
            raise WrongUse(
                f"This lake was made at {made['home']} and its tables hold that path. "
                f"Mount it there again, or make a new lake and replay landing with `rebuild`."
            )
        return lake

    def _create(self, mark: Path, store: str | None) -> None:
        self.make_folders()
        kind = POSTGRESQL if os.environ.get("LAKE_CATALOG") else SQLITE
        kept = {"store": store} if store else {}
        beside = self._beside(format=FORMAT, home=str(self.home), id=secrets.token_hex(6), catalogue=kind, **kept)
        with suppress(FileExistsError):     # another process made the lake at this moment
            os.link(beside, mark)
        beside.unlink()

    def make_folders(self) -> None:
        """Make the lake's folders, those with personal data for the pipeline's account alone."""
        self.home.mkdir(parents=True, exist_ok=True)
        for name in PRIVATE + SHARED:
            fresh = not (self.home / name).exists()
            (self.home / name).mkdir(exist_ok=True)
            if fresh and name in DELIVERED:      # whom departments' accounts belong to is decided where the lake stands, and stays
                (self.home / name).chmod(0o750)
        for name in PRIVATE:
            (self.home / name).chmod(0o700)

    def mark(self, **values: Any) -> None:
        """Change what `lake.json` says of the lake."""
        os.replace(self._beside(**self._marked() | values), self.home / "lake.json")

    def _beside(self, **values: Any) -> Path:
        beside = self.home / f"lake.{os.getpid()}"
        with open(beside, "w") as out:
            json.dump(values, out)
            out.flush()
            os.fsync(out.fileno())
        return beside

    def __getattr__(self, name: str) -> Path:
        if name in PRIVATE + SHARED:
            return self.home / name
        raise AttributeError(name)

    def _marked(self) -> dict[str, Any]:
        return json.loads((self.home / "lake.json").read_text())

    @property
    def catalogue(self) -> str:
        """Which database holds the catalogue and the ledger: `sqlite` or `postgresql`."""
        return self._marked().get("catalogue", SQLITE)

    @property
    def store(self) -> str | None:
        """The object store that keeps the lake, None when its own folder does."""
        return self._marked().get("store")

    def address(self, path: Path | str) -> str:
        """How the tables of base name a file of the lake: where it is kept."""
        return f"{self.store}/{Path(path).relative_to(self.home)}" if self.store else f"file://{path}"

    @property
    def schema(self) -> str:
        """The lake's own schema in a PostgreSQL catalogue."""
        return f"lake_{self._marked()['id']}"

    @property
    def catalog(self) -> Path:
        """The SQLite file that holds the Iceberg catalogue and the ledger."""
        return self.home / "catalog.db"

    @property
    def database(self) -> Path:
        """What analysts open."""
        return self.home / "lake.duckdb"

    @property
    def restricted(self) -> Path:
        """What the pipeline's account opens: unmasked views over `current/`."""
        return self.current / "restricted.duckdb"
