"""A clock set back and forward by days between steps: the same rows, the same order of releases, nothing left.

And one writer per dataset: two processes at once end in the same rows, and one that waits in vain is told so.
"""
from __future__ import annotations

import datetime as real
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines import current, locks
from pipelines.desk import Desk
from pipelines.settings import Lake, Project, WrongUse
from tests.chaos import content, operations, world
from tests.chaos.run import SETTINGS
from tests.chaos.warm import Warm
from tests.support import REPOSITORY

DAYS = (0, -40, 3, -400, 30)      # how far the clock is off at each step, in turn
ROUNDS = (("ingest", "release"), ("receive", "stage", "judge", "commit", "release", "rebuild", "rollback", "release"))


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    with Warm(LAKE_PSEUDONYM_KEY=SETTINGS["LAKE_PSEUDONYM_KEY"], LAKE_SETTLE_SECONDS="0") as found:
        yield found


def step(name: str, days: int) -> dict[str, Any]:
    """One operation under a clock that is `days` off; returns the content of the lake after it."""
    _set_clock(days)
    made = Desk(Project.open(), Lake.open())
    operation = operations.OPERATIONS[name]
    operation.run(made, operations.target(made) if name == "rollback" else 0)
    return content.of(made, operation.publishes)


def _set_clock(days: int) -> None:
    """Set every clock of the product: `time.time` and what it imports of `datetime`."""
    import pipelines.landing
    import pipelines.ledger

    clock, off = time.time, real.timedelta(days=days)

    class Shifted(real.datetime):
        @classmethod
        def now(cls, tz=None):
            return real.datetime.now(tz) + off

    time.time = lambda: clock() + off.total_seconds()
    for module in (pipelines.landing, pipelines.ledger):
        module.datetime = Shifted


def _feed(lakes: list[Path], generation: int) -> None:
    for home in lakes:
        world.drop(home, generation, 1, False)
        for file in list((home / "inbox").rglob("64*")):
            file.with_name(".done").touch()      # a mark settles a file, whatever the clock says


@pytest.mark.chaos
def test_a_clock_that_jumps_by_days_changes_nothing(tmp_path, warm):
    made = world.make(tmp_path / "project")
    steady, jumping = lakes = [tmp_path / "steady", tmp_path / "jumping"]
    taken = 0
    for generation, names in enumerate(ROUNDS):
        _feed(lakes, generation)
        for name in names:
            days, taken = DAYS[taken % len(DAYS)], taken + 1
            found = [warm.call("tests.end_to_end.test_clock:step", name, off, LAKE_HOME=str(home), LAKE_PROJECT=str(made.root))
                     for home, off in ((steady, 0), (jumping, days))]
            assert content.differences(*found) == [], f"{name} with a clock {days} days off"
            assert found[1].get("leftovers", []) == []


@pytest.mark.chaos
def test_the_newest_state_may_go_whatever_the_times_of_files_say(tmp_path, warm):
    """Which states stay is told by their versions: an older one with newer files may, and what went is derived again."""
    made = world.make(tmp_path / "project")
    home = tmp_path / "lake"
    environment = {"LAKE_HOME": str(home), "LAKE_PROJECT": str(made.root)}
    folder, held = home / "current" / world.A, []
    for generation in (1, 2):
        _feed([home], generation)
        before = warm.call("tests.end_to_end.test_clock:step", "ingest", 0, **environment)
        held.append(next(s for s in current.states(folder) if s.folder not in {h.folder for h in held}))
    os.utime(held[1].folder, (1, 1))
    current.sweep(Lake.open(home), world.A, held[:1])
    assert sorted(folder.iterdir()) == sorted(held[0].chain)
    released = warm.call("tests.end_to_end.test_clock:step", "release", 0, **environment)
    assert released[f"base {world.A}"] == before[f"base {world.A}"] and released["published"][world.A][0] == released[f"current {world.A}"][0]


@pytest.mark.chaos
def test_two_processes_on_one_dataset_end_in_the_same_rows(tmp_path, warm):
    made = world.make(tmp_path / "project")
    lone, shared = tmp_path / "lone", tmp_path / "shared"
    _feed([lone, shared], 1)
    commands = []
    for home, times in ((lone, 1), (shared, 2)):
        environment = os.environ | {"LAKE_HOME": str(home), "LAKE_PROJECT": str(made.root), "PYTHONPATH": str(REPOSITORY),
                                    "LAKE_SETTLE_SECONDS": "0", "LAKE_PSEUDONYM_KEY": "5a" * 32}
        commands += [subprocess.Popen([sys.executable, "-m", "pipelines", "ingest", world.A], env=environment, stderr=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True) for _ in range(times)]
    for command in commands:
        out, error = command.communicate(timeout=180)
        assert command.returncode == 0, out + error
    found = [warm.call("tests.end_to_end.test_clock:step", "ingest", 0, LAKE_HOME=str(home), LAKE_PROJECT=str(made.root)) for home in (lone, shared)]
    assert content.differences(*found) == []


def test_a_writer_that_waits_in_vain_is_told_so(tmp_path):
    lake = Lake.open(tmp_path / "lake")
    with locks.writer(lake, world.A), pytest.raises(WrongUse, match="another process has been writing"):
        with locks.writer(lake, world.A, wait=0.3):
            pass
    with locks.writer(lake, world.A, wait=0.3):
        pass
