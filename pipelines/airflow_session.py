"""A started Airflow, driven over its REST API: trigger runs by partition key, wait for them and for their releases."""
from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.airflow_parts import ROOT, AirflowFailed, Parts

START_SECONDS = 240
STILL_SECONDS = 3600
TELL_SECONDS = 10
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
        except (urllib.error.URLError, TimeoutError) as error:
            raise ConnectionError(str(error)) from None

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
        self._until("its parts to be healthy", self._healthy, START_SECONDS)
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
        self._wait(ingests)
        # Also when this session accepted nothing: an interrupted one may have left batches unpublished.
        releases = self._fired(ingests) or [self._trigger(RELEASE, RELEASE)]
        self._wait(releases)
        return [self._result(dag, run_id) for dag, run_id in [*ingests, *releases]]

    def _trigger(self, dag: str, key: str) -> tuple[str, str]:
        made = self.api.post(f"/dags/{dag}/dagRuns", {"logical_date": None, "partition_key": key})
        return dag, made["dag_run_id"]

    def _fired(self, ingests: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """The release runs that the commits of these runs fired, in order; none when nothing was committed.

        They are told by time: the page of asset events answers 500 while a run that an event fired is queued.
        """
        where = "/dags/{}/dagRuns/{}/taskInstances"
        done = [t for dag, run_id in ingests for t in self.api.get(where.format(dag, run_id), state="success")["task_instances"]]
        ends = sorted(t["end_date"] for t in done if t["task_id"] == "commit")
        if not ends:
            return []
        self._until("the release to start", lambda: self._releases_since(ends[-1]), START_SECONDS)
        return [(RELEASE, run_id) for run_id in self._releases_since(ends[0])]

    def _releases_since(self, moment: str) -> list[str]:
        found = self.api.get(f"/dags/{RELEASE}/dagRuns", run_after_gte=moment, order_by="run_after", limit=10000)
        return [run["dag_run_id"] for run in found["dag_runs"]]

    def _wait(self, runs: Iterable[tuple[str, str]]) -> None:
        """Wait until these runs are finished; tell each end, and every few seconds what is being done."""
        waiting = {run_id: dag for dag, run_id in runs}
        total, told, changed, before = len(waiting), time.monotonic(), time.monotonic(), None
        while waiting:
            self._parts.check()
            unfinished = {r["dag_run_id"] for r in self._unfinished()}
            ended = sorted({waiting.pop(run_id) for run_id in waiting.keys() - unfinished})
            if ended:
                self._say(f"{total - len(waiting)}/{total} {', '.join(ended)}")
                told = time.monotonic()
            busy = tuple(sorted(f"{t['dag_id']} {t['task_id']}" for t in self._busy()))
            if (busy, len(waiting)) != before:
                before, changed = (busy, len(waiting)), time.monotonic()
            if waiting and time.monotonic() - told > TELL_SECONDS:
                self._say(f"{total - len(waiting)}/{total} now: {', '.join(busy) or 'no task is running'}")
                told = time.monotonic()
            if time.monotonic() - changed > STILL_SECONDS:
                raise AirflowFailed(f"No task started or ended for {STILL_SECONDS} s. Task logs: {self._parts.home}/logs")
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
        parts = ("scheduler", "dag_processor", *(("triggerer",) if self._parts.triggerer else ()))
        return all(health[part]["status"] == "healthy" for part in parts)

    def _parsed(self, wanted: set[str]) -> bool:
        """True when every wanted DAG was read since this start; a DAG file that cannot be read ends the wait."""
        errors = [e["stack_trace"] for e in self.api.get("/importErrors")["import_errors"] if self._is_new(e["timestamp"])]
        if errors:
            raise AirflowFailed("\n".join(errors))
        dags = self.api.get("/dags", limit=10000, exclude_stale=True)["dags"]
        return wanted <= {d["dag_id"] for d in dags if self._is_new(d["last_parsed_time"])}

    def _is_new(self, time_stamp: str) -> bool:
        return datetime.fromisoformat(time_stamp).timestamp() >= self._parts.started

    def _pools(self) -> None:
        known = {p["name"] for p in self.api.get("/pools")["pools"]}
        for name, pool in json.loads((ROOT / "dags" / "pools.json").read_text()).items():
            if name not in known:
                self.api.post("/pools", {"name": name, **pool})

    def _until(self, what: str, done: Callable[[], object], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            self._parts.check()
            if time.monotonic() > deadline:
                raise AirflowFailed(f"Airflow did not come to this in {seconds:g} s: {what}. Logs: {self._parts.home}/logs")
            time.sleep(0.2)
