"""Death at any step: what readers see is the old state or the new one, and running again ends in the same rows."""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import duckdb
import pytest
import sqlalchemy as sa

from pipelines import base, current, ledger_tables as tables, published, release as publication, site, splitting, steps
from pipelines.batch import split_key
from pipelines.ledger import Ledger
from pipelines.settings import WrongUse
from pipelines.verify import verify
from tests.support import HEADER, REPOSITORY, RESIDENCE, Kept, desk, resident_id, small_project, write_csv

DATASET = "population.residence"


class Killed(BaseException):
    """Nothing in the product may catch it, as nothing can catch SIGKILL."""


def _die(*_args, **_kwargs):
    raise Killed


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    root = tmp_path_factory.mktemp("kill")
    made = desk(root, small_project(root / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))
    _send(made, root, "2026-10-01", range(1, 40), "旧")
    _finish(made)
    return Kept(made)


@pytest.fixture
def at(kept):
    return kept.again()


def _send(made, tmp_path, date: str, numbers, status: str) -> None:
    rows = [(resident_id(n), "赵一", "1990-01-01", "640104", status, "") for n in numbers]
    file = write_csv(tmp_path / f"out/{date}/640100.csv", HEADER, rows)
    steps.submit(DATASET, [file], "police", date, desk=made)


def _finish(made) -> None:
    keys = steps.receive(DATASET, desk=made)
    passed = steps.judge(DATASET, steps.stage(DATASET, keys, made), made)
    if passed:
        steps.commit(DATASET, passed, made)
    steps.release(made)


def _seen(made) -> dict[str, int]:
    """What an analyst sees now."""
    con = duckdb.connect(str(made.lake.database), read_only=True)
    try:
        return dict(con.execute("SELECT status, count(*) FROM population.residence GROUP BY ALL").fetchall())
    finally:
        con.close()


OLD, NEW = {"旧": 39}, {"旧": 20, "新": 30}


@pytest.mark.parametrize(("where", "what"), [
    (splitting, "split"), (splitting, "rule_counts"), (base, "_move"), (base, "table"), (Ledger, "transaction"),
    (current, "_write"), (published, "restrict"),
], ids=lambda value: value if isinstance(value, str) else value.__name__.rpartition(".")[2])
def test_a_death_inside_a_step_loses_nothing(at, tmp_path, monkeypatch, where, what):
    _send(at, tmp_path, "2026-11-01", range(21, 51), "新")
    assert _seen(at) == OLD
    with monkeypatch.context() as patch:
        patch.setattr(where, what, _die)
        with pytest.raises(Killed):
            _finish(at)
    assert _seen(at) in (OLD, NEW)
    _finish(at)
    assert _seen(at) == NEW
    rows = duckdb.sql(f"SELECT count(*), count(DISTINCT id_number) FROM '{steps.derive(at, at.plan(DATASET)).rows}'").fetchone()
    assert rows == (50, 50)


@pytest.mark.parametrize("what", ["_exchange", "_sync_metadata"])
def test_what_a_dead_commit_moved_into_base_stays_until_it_is_tried_again(at, tmp_path, monkeypatch, what):
    """A release, or the commit of another batch, tidies in between: no snapshot names these files yet, and they are the only ones."""
    _send(at, tmp_path, "2026-11-01", range(21, 51), "新")
    with monkeypatch.context() as patch:
        patch.setattr(base, what, _die)
        with pytest.raises(Killed):
            _finish(at)
    steps.release(at)
    _finish(at)
    assert _seen(at) == NEW and verify(at)["findings"] == []
    assert {r["state"] for r in at.ledger.rows(sa.select(tables.batches.c.state))} == {"accepted"}


def test_rows_that_are_gone_are_never_committed_as_none_but_staged_anew(at, tmp_path, monkeypatch):
    _send(at, tmp_path, "2026-11-01", range(21, 51), "新")
    with monkeypatch.context() as patch:
        patch.setattr(base, "_exchange", _die)
        with pytest.raises(Killed):
            _finish(at)
    [key] = steps.receive(DATASET, desk=at)
    shutil.rmtree(at.lake.base / DATASET / "data" / key)
    with pytest.raises(WrongUse, match="what was staged of this batch is gone"):
        steps.commit(DATASET, [key], at)
    assert at.ledger.batch(*split_key(key))["state"] == "passed"
    _finish(at)
    assert _seen(at) == NEW and verify(at)["findings"] == []


def test_a_rollback_that_died_before_the_ledger_knew_is_taken_back_by_the_next_release(at, tmp_path, monkeypatch):
    _send(at, tmp_path, "2026-11-01", range(21, 51), "新")
    _finish(at)
    with monkeypatch.context() as patch:
        patch.setattr(publication, "_record", _die)
        with pytest.raises(Killed):
            steps.rollback(1, at)
    assert _seen(at) == OLD
    assert steps.release(at) is None
    assert _seen(at) == NEW, "the ledger says that release 2 is shown"


def _pages(made) -> dict[str, bytes]:
    return {str(page.relative_to(made.lake.reports)): page.read_bytes() for page in made.lake.reports.rglob("*") if page.is_file()}


@pytest.mark.parametrize("what", ["_record", "build"])
def test_a_death_between_the_switch_of_a_release_and_its_pages_is_mended_by_the_next_call(kept, tmp_path, monkeypatch, what):
    changed = []
    for dies in (False, True):
        at = kept.again()
        before = _pages(at)
        _send(at, tmp_path / str(dies), "2026-11-01", range(21, 51), "新")
        if dies:
            with monkeypatch.context() as patch, pytest.raises(Killed):
                patch.setattr({"_record": publication, "build": site}[what], what, _die)
                _finish(at)
            assert _seen(at) == NEW
            steps.release(at)
        else:
            _finish(at)
        changed.append({page for page, content in _pages(at).items() if before.get(page) != content and not page.startswith("gx/")})      # these are of the judging
    assert _seen(at) == NEW and publication.shown_release(at.ledger) == 2
    assert changed[0] == changed[1] and any("dictionary" in page for page in changed[0])


class _Folder:
    """Where a release lies; who asks for that of the first one, to remove it, dies."""

    def __init__(self, known):
        self.known = known

    def __call__(self, lake, number):
        return _die() if number == 1 else self.known(lake, number)


def test_a_death_while_old_releases_are_removed_is_mended_by_the_next_call(at, tmp_path, monkeypatch):
    monkeypatch.setattr(publication, "KEEP", 1)
    _send(at, tmp_path, "2026-11-01", range(21, 51), "新")
    with monkeypatch.context() as patch:
        patch.setattr(publication, "folder", _Folder(publication.folder))
        with pytest.raises(Killed):
            _finish(at)
    steps.release(at)
    states = [r["state"] for r in at.ledger.rows(sa.select(tables.releases.c.state).order_by(tables.releases.c.release_id))]
    assert states == ["removed", "published"]
    assert [p.name for p in at.lake.releases.glob("r*")] == ["r000002"]


def test_a_killed_process_leaves_no_lock_and_the_next_one_finishes(at, tmp_path):
    environment = os.environ | {"LAKE_HOME": str(at.lake.home), "LAKE_PROJECT": str(at.project.root), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "pipelines", "ingest", DATASET]
    _send(at, tmp_path, "2026-11-01", range(21, 51), "新")
    for seconds in (0.8, 2.0, 3.2):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert _seen(at) == OLD
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    _finish(at)
    assert _seen(at) == NEW
