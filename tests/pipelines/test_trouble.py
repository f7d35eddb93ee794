"""Trouble of the machine is told as such, with the remedy, and never put down to a batch."""
from __future__ import annotations

import errno
import json
import signal
import subprocess
from types import SimpleNamespace

import duckdb
import pytest
import sqlalchemy.exc

from pipelines import base, committing, gate, ledger_tables as tables, splitting, sql, staging, steps, trouble
from pipelines.copying import NotTaken
from pipelines.failures import may_pass, tell
from pipelines.gate import suite
from pipelines.readers import extracted, parquet_rows
from pipelines.settings import WrongUse
from tests.support import HEADER, RESIDENCE, desk, resident_id, small_project, write_csv

DATASET = "population.residence"
FULL = OSError(errno.ENOSPC, "No space left on device")


def _sqlite(words: str) -> sqlalchemy.exc.OperationalError:
    return sqlalchemy.exc.OperationalError("INSERT", None, Exception(words))


@pytest.mark.parametrize(("error", "kind"), [
    (FULL, "full"), (OSError(errno.EDQUOT, ""), "full"), (OSError(errno.EROFS, ""), "read_only"), (OSError(errno.EIO, ""), "broken"),
    (OSError(errno.ENOMEM, ""), "memory"), (MemoryError(), "memory"), (OSError(errno.EMFILE, ""), "handles"),
    (duckdb.IOException('Could not write file "x": No space left on device'), "full"),
    (duckdb.IOException('Cannot open file "x": Read-only file system'), "read_only"), (duckdb.OutOfMemoryException("could not allocate"), "memory"),
    (duckdb.OutOfMemoryException("failed to offload: limit set by 'max_temp_directory_size'"), "full"),
    (_sqlite("database or disk is full"), "full"), (_sqlite("attempt to write a readonly database"), "read_only"),
    (_sqlite("disk I/O error"), "broken"), (_sqlite("database is locked"), "locked"),
    (_sqlite("server closed the connection unexpectedly"), "connection"),
    (sqlalchemy.exc.OperationalError("SELECT", None, Exception("gone"), connection_invalidated=True), "connection"),
    (trouble.MachineTrouble("memory"), "memory"),
])
def test_it_is_recognised_told_with_its_remedy_and_worth_another_try(error, kind):
    assert trouble.of(error) == kind
    assert may_pass(error)
    said = tell(error)
    assert "run the same command again" in said and "withheld" not in said
    with pytest.raises(type(error)):
        trouble.let_pass(error)


@pytest.mark.parametrize("error", [
    duckdb.ConversionException("Could not convert 'No space left on device' to DATE"), duckdb.InvalidInputException("Out of Memory Error"),
    WrongUse("The disk is full of errors"), FileNotFoundError(errno.ENOENT, ""), ValueError("No space left on device"), NotTaken("link", "no"),
])
def test_what_data_and_people_do_is_no_trouble_of_the_machine(error):
    assert trouble.of(error) is None
    trouble.let_pass(error)


def test_an_error_met_while_cleaning_up_does_not_hide_the_disk():
    with pytest.raises(AttributeError) as caught:
        try:
            raise FULL
        except OSError:
            raise AttributeError("no _writer")  # noqa: B904 - as cleaning up does it
    assert trouble.of(caught.value) == "full"


def test_the_message_names_the_disk_its_space_and_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("LAKE_HOME", str(tmp_path / "not made yet"))
    said = tell(FULL)
    assert "The disk is full" in said and " free on " in said and "which holds the lake" in said and "Free space on it" in said
    monkeypatch.setenv("LAKE_MEMORY", "3GB")
    assert "3072 MB" in tell(duckdb.OutOfMemoryException("x")) and "LAKE_MEMORY=" in tell(duckdb.OutOfMemoryException("x"))


@pytest.fixture
def at(tmp_path):
    made = desk(tmp_path, small_project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert").replace("format: csv", "format: auto")))
    rows = [(resident_id(n), "赵一", "1990-01-01", "640104", "新", "") for n in range(1, 30)]
    steps.submit(DATASET, [write_csv(tmp_path / "640100.csv", HEADER, rows)], "police", "2026-10-01", desk=made)
    return made


def _states(at) -> list[str]:
    return [row["state"] for row in at.ledger.rows(tables.batches.select())]


@pytest.mark.parametrize(("where", "what"), [(splitting, "split"), (staging, "_load"), (splitting, "rule_counts")], ids=["split", "load", "counts"])
@pytest.mark.parametrize("error", [FULL, duckdb.OutOfMemoryException("x"), duckdb.IOException("No space left on device")], ids=["disk", "memory", "engine"])
def test_staging_leaves_the_batch_as_it_was(at, monkeypatch, where, what, error):
    keys = steps.receive(DATASET, desk=at)
    with monkeypatch.context() as patch, pytest.raises(type(error)):
        patch.setattr(where, what, _raiser(error))
        steps.stage(DATASET, keys, at)
    assert _states(at) == ["received"]
    assert steps.judge(DATASET, steps.stage(DATASET, keys, at), at) == keys


def test_an_engine_without_memory_says_so(at, monkeypatch):
    keys = steps.receive(DATASET, desk=at)
    with monkeypatch.context() as patch, pytest.raises(duckdb.OutOfMemoryException) as caught:
        patch.setattr(sql, "memory_mb", lambda: 4)
        steps.stage(DATASET, keys, at)
    assert trouble.of(caught.value) == "memory" and "LAKE_MEMORY" in tell(caught.value)
    assert _states(at) == ["received"]


def test_the_gate_lets_it_pass_and_holds_for_everything_else(at, monkeypatch):
    keys = steps.stage(DATASET, steps.receive(DATASET, desk=at), at)
    for error in (FULL, duckdb.OutOfMemoryException("x")):
        with monkeypatch.context() as patch, pytest.raises(type(error)):
            patch.setattr(gate.suite, "run", _raiser(error))
            steps.judge(DATASET, keys, at)
        assert _states(at) == ["staged"]
    monkeypatch.setattr(gate.suite, "run", _raiser(ValueError("x")))
    assert steps.judge(DATASET, keys, at) == [] and _states(at) == ["held"]


def test_what_great_expectations_caught_is_looked_at():
    for words, kind in (("IO Error: No space left on device", "full"), ("Out of Memory Error: could not allocate", "memory")):
        one = SimpleNamespace(expectation_config=SimpleNamespace(kwargs={"rule": "r"}), result={}, exception_info={
            "metric": {"raised_exception": True, "exception_message": words}})
        with pytest.raises(trouble.MachineTrouble) as caught:
            suite.counts(SimpleNamespace(results=[one]), None)
        assert caught.value.kind == kind


@pytest.mark.parametrize(("code", "kind"), [(-signal.SIGKILL, "memory"), (-signal.SIGTERM, "memory"), (100 + errno.ENOSPC, "full"), (100 + errno.EIO, "broken")])
def test_a_child_that_the_machine_failed_refuses_no_document(at, tmp_path, monkeypatch, code, kind):
    file = tmp_path / "640200.json"
    file.write_text(json.dumps([dict(zip(HEADER, (resident_id(1), "赵一", "1990-01-01", "640104", "新", "")))]))
    steps.submit(DATASET, [file], "police", "2026-10-02", desk=at)
    keys = steps.receive(DATASET, desk=at)
    with monkeypatch.context() as patch, pytest.raises((OSError, trouble.MachineTrouble)) as caught:
        patch.setattr(extracted.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, code))
        steps.stage(DATASET, keys, at)
    assert trouble.of(caught.value) == kind
    assert "refused" not in _states(at)
    assert steps.stage(DATASET, keys, at) == keys


def test_a_parquet_file_is_not_broken_because_the_disk_is(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_rows, "connect", _raiser(duckdb.IOException("Could not read: Input/output error")))
    with pytest.raises(duckdb.IOException):
        parquet_rows.unit(1, SimpleNamespace(name="File 1"), tmp_path / "x.parquet", ())


def test_a_commit_that_met_a_full_disk_is_done_again(at, monkeypatch):
    keys = steps.judge(DATASET, steps.stage(DATASET, steps.receive(DATASET, desk=at), at), at)
    for where, what in ((base, "accept"), (committing.durable, "replace_all")):
        with monkeypatch.context() as patch, pytest.raises(OSError):
            patch.setattr(where, what, _raiser(FULL))
            steps.commit(DATASET, keys, at)
        assert _states(at) == ["passed"]
    assert steps.commit(DATASET, keys, at)["current_rows"] == 29


def _raiser(error):
    def fail(*_args, **_kwargs):
        raise error
    return fail
