"""Runs batches through Airflow's own scheduler, from a script: `python -m pipelines.scheduler run | up`.

`run` starts Airflow over the lake, triggers one run per (dataset, batch date), waits for them and for the releases that
they fire, and stops Airflow. Every exit, Ctrl-C included, leaves no process. What an interrupted run left unfinished
is marked failed at the next start; its batches are taken up again by their own state in the ledger.
"""
from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.airflow_parts import ROOT, AirflowFailed, Parts
from pipelines.settings import Lake, Project, WrongUse

START_SECONDS = 120
STILL_SECONDS = 3600
UNFINISHED = ("queued", "running")
RELEASE = "release"


@dataclass(frozen=True)
class Run:
    """One finished DAG run. `dataset` is `release` for a publication; `messages` say why `failed_tasks` failed."""

    dataset: str
    key: str
    state: str
    failed_tasks: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()

    @property
    def held(self) -> bool:
        """True when the run did its work and the gate held or refused a batch."""
        return self.failed_tasks == ("verdict",)


class Api:
    """Airflow's REST API: one request at a time, repeated while the server is busy (SQLite: 5xx)."""

    def __init__(self, port: int):
        self._base = f"http://127.0.0.1:{port}"
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        self._token: str | None = None

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self._send("GET", path, query=query)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._send("POST", path, body)

    def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._send("PATCH", path, body)

    def health(self) -> dict[str, Any]:
        """The health page, which needs no token; ConnectionError while the server is not up."""
        try:
            return self._once("GET", "/monitor/health", None, {})
        except urllib.error.URLError as error:
            raise ConnectionError(str(error.reason)) from None

    def _send(self, method: str, path: str, body: dict | None = None, query: dict | None = None) -> dict[str, Any]:
        for attempt in range(8):
            try:
                if self._token is None:
                    with self._open(f"{self._base}/auth/token", timeout=60) as answer:
                        self._token = json.load(answer)["access_token"]
                return self._once(method, path, body, query or {})
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    raise AirflowFailed(f"{method} {path}: {error.code} {error.read().decode()[:500]}") from None
                problem = f"{error.code}"
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                problem = type(error).__name__
            time.sleep(0.25 * 2**attempt)
        raise AirflowFailed(f"{method} {path}: no answer after 8 attempts, at last {problem}")

    def _once(self, method: str, path: str, body: dict | None, query: dict) -> dict[str, Any]:
        url = f"{self._base}/api/v2{urllib.parse.quote(path, safe='/~')}?{urllib.parse.urlencode(query, doseq=True)}"
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._token}"} if self._token else {})
        request = urllib.request.Request(url, json.dumps(body).encode() if body else None, headers, method=method)
        with self._open(request, timeout=60) as answer:
            return json.loads(answer.read() or b"{}")


class Session:
    """A started Airflow that is ready to take runs of the given datasets."""

    def __init__(self, parts: Parts, dataset_ids: Iterable[str], say: Callable[[str], None]):
        self._parts, self._say, self.api = parts, say, Api(parts.port)
        self._until("its scheduler and DAG processor to be healthy", self._healthy, START_SECONDS)
        wanted = {f"ingest.{d}" for d in dataset_ids} | {RELEASE}
        self._until("its DAGs to be read", lambda: self._parsed(wanted), START_SECONDS)
        self._pools()

    def fail_leftovers(self) -> None:
        """Mark runs failed that an earlier, interrupted session left: with one run at a time they block later ones."""
        for run in self._unfinished():
            self.api.patch(f"/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}", {"state": "failed"})

    def ingest(self, wanted: Iterable[tuple[str, str]]) -> list[Run]:
        """Run these (dataset, batch date) pairs and every release that follows from them."""
        ingests = [self._trigger(f"ingest.{dataset}", date) for dataset, date in wanted]
        self._wait({run_id for _, run_id in ingests})
        fired = {run_id for dag, source in ingests for run_id in self._releases_of(dag, source)}
        # Also when this session accepted nothing: an interrupted one may have left batches unpublished.
        releases = [(RELEASE, run_id) for run_id in fired] or [self._trigger(RELEASE, RELEASE)]
        self._wait({run_id for _, run_id in releases})
        return [self._result(dag, run_id) for dag, run_id in [*ingests, *sorted(releases)]]

    def _trigger(self, dag: str, key: str) -> tuple[str, str]:
        made = self.api.post(f"/dags/{dag}/dagRuns", {"logical_date": None, "partition_key": key})
        return dag, made["dag_run_id"]

    def _releases_of(self, dag: str, run_id: str) -> list[str]:
        """The release runs that this run's asset event started; none when it accepted nothing."""
        found: list[str] = []

        def started() -> bool:
            events = self.api.get("/assets/events", source_dag_id=dag, source_run_id=run_id)["asset_events"]
            found[:] = [r["run_id"] for e in events for r in e["created_dagruns"] if r["dag_id"] == RELEASE]
            return all(e["created_dagruns"] for e in events)

        self._until(f"the release of {dag} to start", started, START_SECONDS)
        return found

    def _wait(self, run_ids: set[str]) -> None:
        """Wait until these runs are finished, telling each end and what is being done."""
        told: set[str] = set()
        changed, before = time.monotonic(), None
        while True:
            unfinished = {r["dag_run_id"]: r["state"] for r in self._unfinished()}
            for run_id in run_ids - told - set(unfinished):
                told.add(run_id)
            busy = tuple(sorted(f"{t['dag_id'].removeprefix('ingest.')} {t['task_id']}" for t in self._busy()))
            if (busy, len(told)) != before:
                before, changed = (busy, len(told)), time.monotonic()
                self._say(f"{len(told)} of {len(run_ids)} runs done" + (f", now: {', '.join(busy)}" if busy else ""))
            if told == run_ids:
                return
            if time.monotonic() - changed > STILL_SECONDS:
                raise AirflowFailed(f"No task started or ended for {STILL_SECONDS} s. Task logs: {self._parts.home}/logs")
            self._parts.check()
            time.sleep(0.3)

    def _busy(self) -> list[dict[str, Any]]:
        return self.api.get("/dags/~/dagRuns/~/taskInstances", state="running", limit=100)["task_instances"]

    def _unfinished(self) -> list[dict[str, Any]]:
        return self.api.get("/dags/~/dagRuns", state=UNFINISHED, limit=10000)["dag_runs"]

    def _result(self, dag: str, run_id: str) -> Run:
        run = self.api.get(f"/dags/{dag}/dagRuns/{run_id}")
        tasks = []
        if run["state"] == "failed":
            tasks = self.api.get(f"/dags/{dag}/dagRuns/{run_id}/taskInstances", state="failed")["task_instances"]
        return Run(
            dag.removeprefix("ingest."), run["partition_key"] or "", run["state"], tuple(t["task_id"] for t in tasks),
            tuple(m for t in tasks for m in self._errors(dag, run_id, t["task_id"], t["try_number"])))

    def _errors(self, dag: str, run_id: str, task: str, attempt: int) -> list[str]:
        """What a failed task logged as its error, or where its log is."""
        where = f"/dags/{dag}/dagRuns/{run_id}/taskInstances/{task}/logs/{attempt}"
        lines = self.api.get(where, full_content=True)["content"]
        errors = [e["exc_value"] for line in lines for e in line.get("error_detail") or ()]
        return errors or [f"task {task} failed without a message; its log is under {self._parts.home}/logs"]

    def _healthy(self) -> bool:
        try:
            health = self.api.health()
        except ConnectionError:
            return False
        return all(health[part]["status"] == "healthy" for part in ("scheduler", "dag_processor"))

    def _parsed(self, wanted: set[str]) -> bool:
        """True when every wanted DAG was read since this start; a DAG file that cannot be read ends the wait."""
        errors = self.api.get("/importErrors")["import_errors"]
        if errors:
            raise AirflowFailed("\n".join(e["stack_trace"] for e in errors))
        dags = self.api.get("/dags", limit=10000, exclude_stale=True)["dags"]
        return wanted <= {d["dag_id"] for d in dags if _seconds(d["last_parsed_time"]) >= self._parts.started}

    def _pools(self) -> None:
        known = {p["name"] for p in self.api.get("/pools")["pools"]}
        for name, pool in json.loads((ROOT / "dags" / "pools.json").read_text()).items():
            if name not in known:
                self.api.post("/pools", {"name": name, **pool})

    def _until(self, what: str, done: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            self._parts.check()
            if time.monotonic() > deadline:
                raise AirflowFailed(f"Airflow did not come to this in {seconds:g} s: {what}. Logs: {self._parts.home}/logs")
            time.sleep(0.2)


def _seconds(time_stamp: str) -> float:
    return datetime.fromisoformat(time_stamp).timestamp()


def run(wanted: Sequence[tuple[str, str]], lake: Lake, project: Project, say: Callable[[str], None] = print) -> list[Run]:
    """Run (dataset, batch date) pairs, oldest date first, and the releases they fire, through a fresh Airflow.

    Raises:
        WrongUse: Airflow already runs over this lake.
        AirflowFailed: Airflow ended, stood still or answered with an error.
    """
    began = time.monotonic()

    def timed(text: str) -> None:
        say(f"[{time.monotonic() - began:6.1f} s] {text}")

    with Parts(lake, project) as parts:
        session = Session(parts, {dataset for dataset, _ in wanted}, timed)
        timed(f"Airflow is up; {len(wanted)} runs")
        session.fail_leftovers()
        finished = session.ingest(sorted(wanted, key=lambda pair: pair[1]))
        timed("stopping Airflow")
    timed("done")
    return finished


def up(lake: Lake, project: Project, port: int) -> None:
    """Keep Airflow and its pages running over the lake until Ctrl-C or SIGTERM."""
    with Parts(lake, project, port) as parts:
        Session(parts, (), print)
        print(f"Airflow: http://127.0.0.1:{port}  (this machine only, no password; Ctrl-C stops it)", flush=True)
        while True:
            parts.check()
            time.sleep(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.scheduler", description="The lake's DAGs, run by Airflow.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="take in what the inbox holds, publish, stop")
    one.add_argument("--dataset", action="append", help="only this dataset (repeatable)")
    one.add_argument("--batch-date", action="append", help="only this batch date (repeatable)")
    pages = commands.add_parser("up", help="Airflow and its pages until Ctrl-C")
    pages.add_argument("--port", type=int, default=8080)
    return parser.parse_args()


def main() -> int:
    """Exit codes: 0 done, 1 held by the gate, 2 wrong use or contract, 3 a run or Airflow itself failed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = _arguments()
    try:
        lake, project = Lake.open(), Project.open()
        if options.command == "up":
            up(lake, project, options.port)
        finished = run(_wanted(options, lake, project), lake, project)
    except WrongUse as error:
        print(error, file=sys.stderr)
        return 2
    except AirflowFailed as error:
        print(error, file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return _conclude(finished)


def _conclude(finished: list[Run]) -> int:
    failed = [r for r in finished if r.state == "failed"]
    for one in failed:
        print(f"{one.dataset} {one.key}: {'held' if one.held else 'failed at ' + ', '.join(one.failed_tasks)}")
        for message in one.messages:
            print(f"  {message}")
    if not failed:
        return 0
    return 1 if all(r.held for r in failed) else 3


if __name__ == "__main__":
    sys.exit(main())
