"""Where things are: the project (contracts, rules, code lists, views) and the lake (data).

The project root is `LAKE_PROJECT` or the repository; the lake is `LAKE_HOME` or `./lake` under the project.
A lake records its own absolute path at init; opening it elsewhere is refused, because Iceberg metadata and
published views hold absolute paths.
"""
from __future__ import annotations

import json
import os
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


def lake_home() -> Path:
    """Where the lake is: `$LAKE_HOME` or `./lake` of the repository."""
    return Path(os.environ.get("LAKE_HOME") or Path(__file__).resolve().parent.parent / "lake").resolve()


@dataclass(frozen=True)
class Lake:
    """The data half: every path under `LAKE_HOME`."""

    home: Path

    @classmethod
    def open(cls, home: str | Path | None = None) -> Lake:
        """Open the lake at `home`, `$LAKE_HOME` or `./lake` of the repository, creating it when it is new.

        Raises:
            WrongUse: the folder holds a lake that was made at another path or by a newer format.
        """
        root = Path(home).resolve() if home else lake_home()
        lake = cls(root)
        if (root / "restoring").exists():
            raise WrongUse(f"{root} is being restored from a backup. If that died, run `python -m pipelines restore` again.")
        mark = root / "lake.json"
        if not mark.exists():
            lake._create(mark)
        made = json.loads(mark.read_text())
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

    def _create(self, mark: Path) -> None:
        self.make_folders()
        kind = POSTGRESQL if os.environ.get("LAKE_CATALOG") else SQLITE
        beside = self._beside(format=FORMAT, home=str(self.home), id=secrets.token_hex(6), catalogue=kind)
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
