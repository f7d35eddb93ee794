"""Airflow's processes: their settings, that one Airflow runs per lake, and that stopping leaves no process."""
from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys

import psutil
import pytest

from pipelines import airflow_parts
from pipelines.airflow_parts import PRELOADED, AirflowFailed, Parts, environment
from pipelines.settings import Lake, Project, WrongUse
from tests.support import REPOSITORY


@pytest.fixture
def lake(tmp_path):
    return Lake.open(tmp_path / "lake")


def test_the_callers_own_airflow_and_proxy_take_no_part(lake, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "Other")
    monkeypatch.setenv("AIRFLOW_HOME", "/elsewhere")
    found = environment(lake, Project(REPOSITORY), 1, 2)
    assert found["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert found["AIRFLOW_HOME"] == str(lake.home / "airflow")
    assert "127.0.0.1" in found["NO_PROXY"]


def test_everything_preloaded_exists(tmp_path):
    """The executor ignores a name that it cannot import, and every task would pay for it in silence."""
    code = f"import importlib; [importlib.import_module(m) for m in {PRELOADED}]"
    env = os.environ | {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    assert subprocess.run([sys.executable, "-c", code], env=env, cwd=REPOSITORY).returncode == 0


@pytest.mark.parametrize("part, seconds", [("api-server", 1.0), ("scheduler", 60.0)])
def test_an_api_server_waits_briefly_for_the_database_and_the_rest_long(part, seconds):
    code = f"import sys; sys.argv = ['airflow', {part!r}]; from pipelines.airflow_parts import connect_args; print(connect_args['timeout'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert float(done.stdout) == seconds


def test_only_who_asks_for_it_gets_the_part_that_notices_arrivals(lake, monkeypatch):
    started = []
    monkeypatch.setattr(Parts, "_start", lambda self, part, *_: started.append(part))
    monkeypatch.setattr(Parts, "_migrate", lambda self: None)
    for triggerer in (False, True):
        with Parts(lake, Project(REPOSITORY), triggerer=triggerer):
            pass
    assert started.count("scheduler") == 2 and started.count("triggerer") == 1


def test_a_second_airflow_over_one_lake_is_refused(lake):
    held = (lake.locks / "airflow").open("w")
    held.write("123 456")
    held.flush()
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(WrongUse, match="already runs over this lake .processes: 123 456."):
        Parts(lake, Project(REPOSITORY)).__enter__()


def test_a_taken_port_is_refused_before_anything_starts(lake):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(WrongUse, match="is taken"):
            Parts(lake, Project(REPOSITORY), taken.getsockname()[1]).__enter__()
    assert not (lake.home / "airflow").exists()


def test_a_part_that_ends_is_reported_with_its_log(lake):
    parts = Parts(lake, Project(REPOSITORY))
    parts._running["scheduler"] = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    parts._running["scheduler"].wait()
    with pytest.raises(AirflowFailed, match=r"scheduler ended with code 3. Its log: .*scheduler.log"):
        parts.check()


def test_stopping_kills_tasks_that_left_the_group_of_their_scheduler(lake, monkeypatch):
    monkeypatch.setattr(airflow_parts, "STOP_SECONDS", 1)
    stubborn = ("import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                "child = os.fork()\nif not child: os.setpgid(0, 0)\nelse: print(child, flush=True)\ntime.sleep(60)")
    parts = Parts(lake, Project(REPOSITORY))
    process = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE, text=True, start_new_session=True)
    task = int(process.stdout.readline())
    parts._running["scheduler"] = process
    parts._stop()
    assert process.returncode is not None
    assert not psutil.pid_exists(task) or psutil.Process(task).status() == psutil.STATUS_ZOMBIE


FORKED = """
import gc, os, sys
import duckdb, great_expectations, pyarrow.parquet, pyiceberg.catalog.sql

native = len(os.listdir("/proc/self/task"))
from pipelines import preload
import offline_docs
assert len(os.listdir("/proc/self/task")) == native, "a thread does not live on in a forked process"

def kept() -> bool:
    child = os.fork()
    if not child:
        known = {m in sys.modules for m in ("pipelines.steps", "expect_rule_to_hold", "offline_docs")}
        from pipelines.gate import suite
        rule = dict(rule="a.b", at_least=1.0, severity="warn", zh="a", en="b", indicator="0101", owner="c")
        os._exit(known == {True} if suite.expectations([rule])[0].rule == "a.b" and len(known) == 1 else 9)
    return bool(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

assert gc.get_freeze_count() > 100_000, "what is there before tasks are forked is no business of their collector"
assert pyiceberg.catalog.sql.IcebergTables.__mapper__.configured and offline_docs._COMPILED.known
assert kept()
preload._IMPORTED = frozenset()
assert not kept() and "pipelines.steps" in sys.modules
"""


def test_a_task_forgets_what_was_preloaded_when_the_program_has_changed():
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
