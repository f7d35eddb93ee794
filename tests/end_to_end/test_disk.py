"""A full and a read-only disk at each step: a clear error, nothing half-done, nothing put down to the data, and running again mends it.

The lake lies on a small tmpfs that the test mounts. For each step the space it needs is measured; then it runs with none,
with parts of that space left, and on the disk remounted read-only.
"""
from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipelines import ledger_tables as tables
from pipelines.desk import Desk
from pipelines.settings import Lake, Project
from tests import support
from tests.chaos import content, operations, world
from tests.chaos.warm import Warm

SIZE_MB = 48
LEFT = (0.0, 0.5, 0.85)     # of the space that the step needs
BEFORE = {"receive": [], "stage": ["receive"], "judge": ["receive", "stage"], "commit": ["receive", "stage", "judge"], "ingest": [],
          "release": ["ingest"], "rebuild": ["ingest", "release"], "rollback": ["ingest", "release"], "close": ["ingest"],
          "maintain": ["ingest", "release"], "withdraw": ["ingest", "release"], "backup": ["ingest"]}
PUBLISHING = ("release", "close")
SHORT = ("commit", "release")      # of the ordinary suite, with half the space and read-only; `make test-chaos` runs all


@dataclass
class Disk:
    """A mounted disk with a lake, and the warm process that works on it."""

    mount: Path
    warm: Warm

    @property
    def home(self) -> Path:
        return self.mount / "lake"

    def free(self) -> int:
        found = os.statvfs(self.mount)
        return found.f_bavail * found.f_frsize

    def leave(self, size: int) -> None:
        """Fill the disk but for `size` bytes."""
        with open(self.mount / "ballast", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(4096, self.free() - size))

    def remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.mount)], check=True)

    def release(self) -> None:
        """Make it writable and empty but for the lake."""
        self.remount("rw")
        (self.mount / "ballast").unlink(missing_ok=True)

    def forget_backups(self) -> None:
        shutil.rmtree(self.mount / "place", ignore_errors=True)

    def do(self, step: str) -> tuple[int, str]:
        """One step, by the command line where it is a command."""
        target = self.warm.call("tests.end_to_end.test_disk:target") if step == "rollback" else None
        argv = {"ingest": ["ingest", world.A], "release": ["release"], "rebuild": ["rebuild", world.A], "rollback": ["rollback", str(target)],
                "close": ["close", "2026-01", "--reason", "试验", "--anyway"], "maintain": ["maintain"], "backup": ["backup", str(self.mount / "place")]}.get(step)
        return self.warm.command(*argv) if argv else tuple(self.warm.call("tests.end_to_end.test_disk:step", step))

    def keep(self, kept: Path) -> None:
        subprocess.run(["cp", "-a", str(self.home), str(kept)], check=True)
        self.warm.call("tests.end_to_end.test_disk:keep", str(kept.with_suffix(".db")))

    def restore(self, kept: Path) -> None:
        shutil.rmtree(self.home)
        subprocess.run(["cp", "-a", str(kept), str(self.home)], check=True)
        self.warm.call("tests.end_to_end.test_disk:put_back", str(kept.with_suffix(".db")))

    def look(self, published: bool = False) -> dict[str, Any]:
        return self.warm.call("tests.end_to_end.test_disk:look", published)


@pytest.fixture(scope="module")
def disk(tmp_path_factory) -> Iterator[Disk]:
    root = tmp_path_factory.mktemp("disk")
    mount = root / "mounted"
    mount.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(mount)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this account may not mount a disk: {done.stderr.strip()}")
    try:
        made = world.make(root / "project")
        with Warm(LAKE_HOME=str(mount / "lake"), LAKE_PROJECT=str(made.root), LAKE_SETTLE_SECONDS="0", LAKE_FOLD_DAYS="0") as warm:
            found = Disk(mount, warm)
            for generation in (0, 1, 2):
                world.drop(found.home, generation, 1, False)
            for step in ("ingest", "release"):
                assert found.do(step)[0] == 0
            world.drop(found.home, 3, 1, False)      # of lodging in JSON, through the extractor
            yield found
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def target() -> int:
    """The release before the one shown."""
    return operations.target(_desk())


def step(name: str) -> tuple[int, str]:
    """A step that is no command, told as the command line tells it."""
    from pipelines.cli import FAULT
    from pipelines.failures import tell

    try:
        operations.OPERATIONS[name].run(_desk(), 0)
    except Exception as error:
        return FAULT, tell(error)
    return 0, ""


def look(published: bool) -> dict[str, Any]:
    """What a reader sees, the states of all batches, and with `published` the whole content."""
    made = _desk()
    states = made.ledger.rows(sa.select(tables.batches.c.state))
    closed = made.ledger.rows(sa.select(tables.closings.c.month, tables.closings.c.release_id))
    return {"seen": content.view_digests(made.lake.database), "states": sorted(r["state"] for r in states),
            "content": content.of(made, published), "closed": closed}


def keep(file: str) -> None:
    """See `support.keep_catalogue`."""
    support.keep_catalogue(Lake.open(), Path(file))


def put_back(file: str) -> None:
    """See `support.put_back_catalogue`."""
    support.put_back_catalogue(Lake.open(), Path(file))


def _desk() -> Desk:
    return Desk(Project.open(), Lake.open())


def _peak(disk: Disk, name: str) -> int:
    """The most space that a step takes while it runs undisturbed."""
    start, lowest, going = disk.free(), [disk.free()], threading.Event()

    def sample() -> None:
        while not going.is_set():
            lowest.append(disk.free())
            time.sleep(0.002)
    thread = threading.Thread(target=sample)
    thread.start()
    code, said = disk.do(name)
    going.set()
    thread.join()
    assert code == 0, said
    return start - min(lowest)


@pytest.fixture(scope="module", params=[pytest.param(s, marks=() if s in SHORT else pytest.mark.chaos) for s in BEFORE])
def prepared(request, disk, tmp_path_factory) -> Iterator[tuple[str, Path, dict, dict, int]]:
    """(step, the lake before it, what is seen before, what after, the bytes it needs)."""
    name, kept = request.param, tmp_path_factory.mktemp("kept")
    disk.keep(kept / "start")
    for earlier in BEFORE[name]:
        assert disk.do(earlier)[0] == 0
    before = disk.look()
    disk.keep(kept / "lake")
    need = _peak(disk, name)
    yield name, kept / "lake", before, disk.look(name in PUBLISHING), need
    disk.release()
    disk.forget_backups()
    disk.restore(kept / "start")


@pytest.mark.parametrize("left", [pytest.param(at, marks=() if at in (0.5, "read-only") else pytest.mark.chaos) for at in (*LEFT, "read-only")])
def test_a_disk_that_cannot_be_written_stops_a_step_and_nothing_else(prepared, disk, left):
    name, kept, before, after, need = prepared
    disk.restore(kept)
    disk.forget_backups()
    disk.remount("ro") if left == "read-only" else disk.leave(int(need * left))
    code, said = disk.do(name)
    disk.release()
    wrong = disk.look()
    if code or left in (0.0, "read-only"):
        assert code == 3, said
        assert ("is read-only" if left == "read-only" else "The disk is full") in said
        assert f"free on {disk.mount}, which holds the lake" in said and "run the same command again" in said
        assert "Traceback" not in said and "withheld" not in said
    assert set(wrong["states"]) <= {"received", "staged", "passed", "accepted"}, "no batch is held or refused because of the disk"
    assert name == "withdraw" or wrong["seen"] in (before["seen"], after["seen"])      # a withdrawal goes file by file
    assert wrong["content"]["published"] == wrong["seen"]
    code, said = disk.do(name)
    assert code == 0, said
    assert content.differences(disk.look(name in PUBLISHING), after) == []
