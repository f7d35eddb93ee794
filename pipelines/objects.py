"""What `verify` compares the disk with: the SHA-256 of every file that lasts, entered when the file is complete.

Landing files carry theirs in their manifest, whose own digest is here, like those of base, quarantine, current and
releases. The caller holds the lock under which the folder is written, so that nothing half-written is entered.
"""
from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import sqlalchemy as sa

from pipelines import ledger_tables as tables
from pipelines.copying import digest
from pipelines.ledger import Ledger, now
from pipelines.settings import POSTGRESQL, Lake
from pipelines.sql import threads

_SHARES = 64      # of many files, so that threads end together


def digests(files: Iterable[Path]) -> dict[Path, tuple[str, int]]:
    """Of many files, several at a time; to hand over small ones one by one would take as long as to read them."""
    listed = list(files)
    if len(listed) < 2:
        return {file: digest(file) for file in listed}
    some = max(1, len(listed) // _SHARES)
    with ThreadPoolExecutor(threads()) as pool:
        return dict(chain.from_iterable(pool.map(lambda at: [(file, digest(file)) for file in listed[at:at + some]], range(0, len(listed), some))))


def lasting(folder: Path) -> Iterable[Path]:
    """The complete files under a folder: nothing hidden, nothing whose path still says `.part`."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(p.startswith(".") or p.endswith(".part") for p in path.relative_to(folder).parts):
            yield path


def enter(lake: Lake, ledger: Ledger, *folders: Path) -> int:
    """Enter what lies in these folders and has no entry yet; returns how many files."""
    inside = sa.or_(*(_inside(ledger, str(folder.relative_to(lake.home))) for folder in folders))
    known = {r["path"] for r in ledger.rows(sa.select(tables.objects.c.path).where(inside))}
    fresh = [f for folder in folders for f in lasting(folder) if str(f.relative_to(lake.home)) not in known]
    replace(lake, ledger, fresh)
    return len(fresh)


def _inside(ledger: Ledger, folder: str) -> sa.ColumnElement[bool]:
    """The entries under a folder, as a range of the key too: the pattern alone is compared with every path of the lake, each time."""
    path = tables.objects.c.path
    key = path.collate("C") if ledger.engine.dialect.name == POSTGRESQL else path      # PostgreSQL may order texts by a language
    return (key >= f"{folder}/") & (key < f"{folder}0") & path.startswith(f"{folder}/", autoescape=True)


def enter_files(lake: Lake, ledger: Ledger, files: Iterable[Path]) -> None:
    """Enter those of these files that have no entry yet."""
    o, listed = tables.objects, list(files)
    known = {r["path"] for r in ledger.rows(sa.select(o.c.path).where(o.c.path.in_([str(f.relative_to(lake.home)) for f in listed])))}
    replace(lake, ledger, [f for f in listed if str(f.relative_to(lake.home)) not in known])


def replace(lake: Lake, ledger: Ledger, files: Iterable[Path]) -> None:
    """Enter files, in place of what was entered of them."""
    expect(lake, ledger, digests(files))


def expect(lake: Lake, ledger: Ledger, wanted: dict[Path, tuple[str, int]]) -> None:
    """Enter what files are, or are about to become, in place of what was entered of them.

    Args:
        wanted: file → (SHA-256, bytes).
    """
    o = tables.objects
    rows = [{"path": str(f.relative_to(lake.home)), "sha256": sha, "bytes": size, "entered_at": now()} for f, (sha, size) in wanted.items()]
    if rows:
        with ledger.transaction() as con:
            con.execute(o.delete().where(o.c.path == sa.bindparam("gone")), [{"gone": row["path"]} for row in rows])
            con.execute(o.insert(), rows)


def forget(lake: Lake, ledger: Ledger, paths: Iterable[Path]) -> None:
    """Remove the entries of files, and of what lay in folders, that are gone."""
    o = tables.objects
    with ledger.transaction() as con:
        for path in paths:
            place = str(path.relative_to(lake.home))
            con.execute(o.delete().where((o.c.path == place) | o.c.path.startswith(f"{place}/", autoescape=True)))


def entered(lake: Lake, ledger: Ledger, files: Iterable[Path]) -> set[Path]:
    """Those of these files that are there and are what was entered."""
    o, places = tables.objects, {str(f.relative_to(lake.home)): f for f in files}
    rows = ledger.rows(sa.select(o).where(o.c.path.in_(places)))
    return {places[r["path"]] for r in rows if places[r["path"]].exists() and digest(places[r["path"]]) == (r["sha256"], r["bytes"])}


def gone(lake: Lake, ledger: Ledger, root: str) -> list[Path]:
    """What was entered under a root of the lake and is no longer there."""
    return [lake.home / path for path in entries(ledger) if path.startswith(f"{root}/") and not (lake.home / path).exists()]


def entries(ledger: Ledger) -> dict[str, tuple[str, int]]:
    """Path under the lake's home → (SHA-256, bytes)."""
    return {r["path"]: (r["sha256"], r["bytes"]) for r in ledger.rows(sa.select(tables.objects))}
