"""Airflow's processes over one lake: settings, start, health, stop.

Everything of Airflow (metadata, task logs, logs of the parts) is in `LAKE_HOME/airflow`, for the pipeline's account only.
The API is two servers, because one that also serves task workers dead-locks on SQLite (measured). An OS lock, which the
parts inherit, admits one Airflow per lake, also after the starting process was killed. All ports are on 127.0.0.1.
"""
from __future__ import annotations

import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import psutil

from pipelines.settings import Lake, Project, WrongUse
from pipelines.sql import process_mb

ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 20
# Task processes are forked with these imported: great_expectations costs each 4 to 9 s otherwise, the steps 0.4 s.
PRELOADED = (
    "airflow.sdk.execution_time.supervisor", "airflow.sdk.execution_time.task_runner",
    "airflow.providers.standard.decorators.python", "airflow.providers.standard.decorators.short_circuit",
    "airflow.dag_processing.dagbag", "airflow.dag_processing.bundles.local", "airflow.sdk.definitions.decorators",
    "airflow.providers.common.io.assets.file", "airflow.providers.standard.operators.hitl", "great_expectations", "duckdb", "pyarrow", "pyiceberg.catalog.sql", "sqlalchemy",
    "pipelines.preload",
)
# SQLite: a server that waits for a lock blocks the loop of the request that holds it, so it waits briefly and its
# client repeats the request; everything else waits long.
connect_args = {"timeout": 1.0 if "api-server" in sys.argv else 60.0}


class AirflowFailed(Exception):
    """A part of Airflow ended or did not answer; the message names its log."""


def environment(lake: Lake, project: Project, port: int, execution_port: int) -> dict[str, str]:
    """The complete environment of the parts: nothing of the caller's own Airflow or proxy settings takes part.

    Two engines run at once (dags/pools.json), so each gets a third of the memory, not the usual half.
    """
    local = "127.0.0.1,localhost"
    settings = {
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": str((os.cpu_count() or 2) + 2),
        "CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "CORE__PLUGINS_FOLDER": str(ROOT / "pipelines" / "airflow_plugins"),
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{execution_port}/execution/",
        "API__HOST": "127.0.0.1",
        "API__PORT": str(port),
        "API__BASE_URL": f"http://127.0.0.1:{port}",
        "API__MAXIMUM_PAGE_LIMIT": "10000",
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "DATABASE__SQL_ALCHEMY_CONNECT_ARGS": f"{__name__}.connect_args",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",      # a changed DAG file is read at once, a changed contract after this; each look takes 1.5 s of CPU
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        "SCHEDULER__MP_START_METHOD": "forkserver",
        "SCHEDULER__MP_FORKSERVER_PRELOAD": ",".join(PRELOADED),
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")}
    return inherited | {f"AIRFLOW__{k}": v for k, v in settings.items()} | {
        "AIRFLOW_HOME": str(lake.home / "airflow"),
        "LAKE_MEMORY": os.environ.get("LAKE_MEMORY") or f"{max(1024, process_mb() * 2 // 3)}MB",
        "LAKE_HOME": lake.store or str(lake.home), "LAKE_PROJECT": str(project.root),
        "PYTHONPATH": str(ROOT), "GX_ANALYTICS_ENABLED": "False", "NO_PROXY": local, "no_proxy": local,
    }


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Parts:
    """Airflow running over one lake for the length of a `with` block.

    Args:
        port: of the web pages and the REST API; any free one by default.
        triggerer: also start the part that notices arrivals in the inbox.

    Raises:
        WrongUse: Airflow already runs over this lake, or `port` is taken.
        AirflowFailed: the metadata database cannot be made.
    """

    def __init__(self, lake: Lake, project: Project, port: int | None = None, triggerer: bool = False):
        self.home, self.triggerer = lake.home / "airflow", triggerer
        self.port, self._execution_port = port or free_port(), free_port()
        self._environment = environment(lake, project, self.port, self._execution_port)
        self._lock_path = lake.locks / "airflow"
        self._lock: IO[str] | None = None
        self._running: dict[str, subprocess.Popen] = {}
        self.started = 0.0

    def __enter__(self) -> Parts:
        self._refuse_taken_port()
        self._take_lock()
        self.started = time.time()
        try:
            self.home.mkdir(mode=0o700, exist_ok=True)
            (self.home / "logs").mkdir(exist_ok=True)
            self._migrate()
            self._start("api", "api-server", "--apps", "core")
            self._start("execution-api", "api-server", "--apps", "execution", "--port", str(self._execution_port))
            self._start("dag-processor", "dag-processor")
            self._start("scheduler", "scheduler", "--skip-serve-logs")  # its log server listens on all interfaces
            if self.triggerer:
                self._start("triggerer", "triggerer", "--skip-serve-logs")
            self._note_processes()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def check(self) -> None:
        """Raise AirflowFailed when a part has ended by itself."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise AirflowFailed(f"Airflow's {name} ended with code {process.returncode}. Its log: {self.log(name)}")

    def log(self, part: str) -> Path:
        """Where the output of a part since its last start is."""
        return self.home / "logs" / f"{part}.log"

    def _refuse_taken_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError:
                raise WrongUse(f"Port {self.port} of 127.0.0.1 is taken. Choose another one: make up PORT=8090") from None

    def _take_lock(self) -> None:
        self._lock = self._lock_path.open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            processes = self._lock.read().strip() or "just starting"
            self._lock.close()
            raise WrongUse(
                f"Airflow already runs over this lake (processes: {processes}). Stop `make up` first, or trigger runs "
                "on its pages. If its starter was killed, end these processes with kill."
            ) from None

    def _note_processes(self) -> None:
        assert self._lock
        self._lock.truncate(0)
        self._lock.write(" ".join(str(p.pid) for p in self._running.values()))
        self._lock.flush()

    def _migrate(self) -> None:
        from importlib.metadata import version

        stamp, current = self.home / "migrated", version("apache-airflow-core")
        if stamp.exists() and stamp.read_text() == current:
            return
        with self.log("migrate").open("w") as out:
            done = subprocess.run(self._command("db", "migrate"), env=self._environment, stdout=out, stderr=out)
        if done.returncode:
            raise AirflowFailed(f"Airflow's metadata database cannot be made. The log: {self.log('migrate')}")
        stamp.write_text(current)

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "airflow", *arguments]

    def _start(self, part: str, *arguments: str) -> None:
        assert self._lock
        with self.log(part).open("w") as out:
            self._running[part] = subprocess.Popen(
                self._command(*arguments), env=self._environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                cwd=self.home, start_new_session=True, pass_fds=(self._lock.fileno(),))

    def _stop(self) -> None:
        """Stop the parts, those that write first; what does not end in time is killed with its tasks."""
        with _undisturbed():
            sessions = {p.pid for p in self._running.values()}
            for names in (("scheduler", "triggerer", "dag-processor"), ("api", "execution-api")):
                _end([self._running[n] for n in names if n in self._running])
            _kill_sessions(sessions)
            for process in self._running.values():
                process.wait()
            self._running.clear()
            if self._lock:
                self._lock.truncate(0)
                self._lock.close()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C does not interrupt this block, which would leave processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(processes: list[subprocess.Popen]) -> None:
    """Ask these processes to end, and give them STOP_SECONDS to do so."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - time.monotonic()))


def _kill_sessions(sessions: set[int]) -> None:
    """Kill what is left of these sessions: task processes leave the group of their scheduler, not its session."""
    left = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getsid(process.pid) in sessions:
                process.kill()
                left.append(process)
    psutil.wait_procs(left, timeout=STOP_SECONDS)
