"""When things run: one Airflow DAG per contract, one that notices arrivals and one that publishes. How: `pipelines.steps`.

`extract.<dataset>` is there for a dataset with a database among its sources. It reads it into landing, at midnight where the
contract gives a `schedule`, else over the API with the batch date as partition key, and emits the dataset's arrivals.

`inbox` is fired by a trigger that watches the inbox (`pipelines.arrivals`); it emits one event per (dataset, batch date)
that may be taken, and fails when files must stay there for another reason than being incomplete.
`ingest.<dataset>` is fired by these events, or over the API, with the batch date as partition key: receive → judge → commit →
verdict and feedback. `judge` stages and judges in one process, because another task costs a small batch more than its rows do; it emits
`held` per batch that an officer may decide about (dags/desk.py). `commit` emits the dataset's asset when a batch was accepted; `verdict`
fails, without a retry, when one was held or refused, or when files for its date must stay in the inbox.
`release` is fired by any asset. Airflow starts one run per event (measured: 12 for 12), so runs are coalesced: one at
a time, when no other step needs an engine; a run with others behind it is skipped, and the last publishes all
that is accepted by then. Only ids and counts go through XCom, and only what `failures.tell` says into logs.
"""
from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from airflow.sdk import (
    DAG,
    Asset,
    AssetAny,
    AssetWatcher,
    CronPartitionTimetable,
    FixedKeyMapper,
    PartitionedAssetTimetable,
    PartitionedAtRuntime,
    get_parsing_context,
    task,
)
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from pipelines.arrivals import Arrivals
from pipelines.assets import HELD, RELEASED, announce as emit, arrivals, asset
from pipelines.batch import WORD
from pipelines.settings import Project
from pipelines.sources.declaration import DIALECTS, is_cron
from pipelines.tasks import call

INBOX, INGEST, EXTRACT, RELEASE = "inbox", "ingest.", "extract.", "release"
# A retry helps against a lock, a full disk or a concurrent commit, not against data: verdict has none.
RETRY = {"retries": 2, "retry_delay": timedelta(seconds=20)}
# A source that is away, busy or outside its window is asked again for a day; what was read of it is kept.
ASK_AGAIN = {"retries": 48, "retry_delay": timedelta(minutes=30)}
log = logging.getLogger("lake")


def _step(name: str, *args: Any) -> Any:
    """Run one step; what is raised is safe to log, and is retried only where that can help."""
    return call(f"steps.{name}", *args)


@task.short_circuit(**RETRY)
def receive(dataset_id: str, partition_key: str | None = None) -> dict[str, list[str]]:
    """Copy what departments sent for this date into landing; stop here when nothing is new and nothing must stay."""
    if partition_key is None:
        raise AirflowFailException("Give the batch date (2026-11-01) as partition key: it is never taken from a clock.")
    keys = _step("receive", dataset_id, partition_key)
    left = _step("report", dataset_id, [], None, partition_key)
    log.info("%s %s: %d batches to take in, %d places in the inbox where files must stay", dataset_id, partition_key, len(keys), len(left))
    return {"keys": keys} if keys or left else {}


@task(pool="engine", **RETRY)
def judge(dataset_id: str, keys: list[str], outlet_events: Any = None, task: Any = None) -> list[str]:
    """Standardise, type and test every row in one pass, and let Great Expectations judge; a batch that cannot be read is refused.

    What does not pass is held, and an officer is asked about it; also about what a killed try of this task has held.
    """
    if not keys:
        raise AirflowSkipException(f"{dataset_id}: no batch is to be taken in")
    staged = _step("stage", dataset_id, keys)
    log.info("%s: %d of %d batches staged", dataset_id, len(staged), len(keys))
    accepted = _step("judge", dataset_id, staged)
    held = call("approvals.awaiting", keys)
    emit(task, outlet_events, {HELD: held} if held else {})
    log.info("%s: %d of %d batches accepted", dataset_id, len(accepted), len(staged))
    return accepted


@task(pool="engine", **RETRY)
def commit(dataset_id: str, keys: list[str]) -> dict[str, int]:
    """Make the accepted batches part of base and current, and say so through the dataset's asset."""
    if not keys:
        raise AirflowSkipException(f"{dataset_id}: no batch was accepted")
    counts = _step("commit", dataset_id, keys)
    log.info("%s: %s", dataset_id, counts)
    return counts


@task(pool="packs", trigger_rule="none_failed", **RETRY)
def feedback(dataset_id: str, keys: list[str]) -> dict[str, int]:
    """Put the failing rows of what was judged into the outboxes of their departments; a pack that cannot be made is told, and stops nothing."""
    made = call("feedback.pack.make_waiting", dataset_id)
    for one in made:
        if "trouble" in one:
            log.warning("%s r%d: %s", one["batch_id"], one["revision"], one["trouble"])
    counts = {"packs": sum("trouble" not in one for one in made), "rows": sum(one.get("rows", 0) for one in made)}
    log.info("%s, %d batches: %s", dataset_id, len(keys), counts)
    return counts


@task(retries=0, trigger_rule="none_failed")
def verdict(dataset_id: str, keys: list[str], partition_key: str | None = None) -> None:
    """Fail when a batch of this run was held or refused, or files for its date were left; the message says what to do."""
    troubles = _step("report", dataset_id, keys, None, partition_key)
    if troubles:
        raise AirflowFailException("\n".join(troubles))
    log.info("%s: all %d batches accepted", dataset_id, len(keys))


@task(pool="engine", pool_slots=2, priority_weight=1, weight_rule="absolute", **RETRY)
def publish(ti: Any = None) -> dict[str, int]:
    """Publish the last accepted state of every dataset, or leave that to the last of the runs that wait behind."""
    behind = ti.get_dr_count(RELEASE, states=["queued"])
    if behind:
        raise AirflowSkipException(f"{behind} later runs wait; the last of them publishes everything.")
    done = _step("release")
    if not done:
        raise AirflowSkipException("Nothing changed since the last release.")
    counts = {name: done[name] for name in ("release_id", "datasets", "rows")}
    log.info("released: %s", counts)
    return counts


@task.short_circuit(**RETRY)
def announce(dataset_ids: list[str], triggering_asset_events: Any = None, outlet_events: Any = None, task: Any = None) -> list[str]:
    """Fire a run per dataset and batch date that arrived; go on only when files must stay that no such run tells of."""
    told = [event.extra["payload"] for events in triggering_asset_events.values() for event in events if "payload" in event.extra]
    arrived = {(i, day) for changes in told for i, day in changes["arrived"] if i in dataset_ids}
    troubled = {(i, day) for changes in told for i, day in changes["troubled"] if i in dataset_ids}
    left = []
    for dataset_id in sorted({i for i, _ in troubled} if told else dataset_ids):
        found = _step("notice", dataset_id)
        arrived |= set() if told else {(dataset_id, day) for day in found["dates"]}
        left += [message for day, message in found["left"] if (dataset_id, day) not in arrived and (not told or (dataset_id, day) in troubled)]
    emit(task, outlet_events, {arrivals(i): sorted(day for one, day in arrived if one == i) for i in sorted({i for i, _ in arrived})})
    log.info("%d arrivals: %s", len(arrived), ", ".join(f"{i} {day}" for i, day in sorted(arrived)))
    return left


@task(**ASK_AGAIN)
def extract(dataset_id: str, source: str, partition_key: str | None = None) -> dict[str, Any]:
    """Read one database into landing and fire the dataset's run; nothing changed fires nothing."""
    if partition_key is None:
        raise AirflowFailException("Give the batch date (2026-11-01) as partition key: it is never taken from a clock.")
    found = _step("extract", dataset_id, partition_key, source)[0]
    if found["outcome"] == "unchanged":
        raise AirflowSkipException(f"{dataset_id}: nothing changed in the database of {source}")
    counts = {name: value for name, value in found.items() if isinstance(value, int)}
    log.info("%s: %s %s", found["batch_id"], found["outcome"], counts)
    return counts


@task(retries=0)
def left(messages: list[str]) -> None:
    """Fail with what must stay in the inbox and what to do about it."""
    raise AirflowFailException("\n".join(messages))


def heading(contract: Path) -> dict[str, Any]:
    """A contract without its columns: reading those too costs 0.6 s per 200 contracts at every parse.

    Whether a contract is acceptable is decided when a run reads it, so a wrong one stops its own dataset only.
    """
    head = contract.read_text("utf-8").partition("\nschema:")[0]
    try:
        found = yaml.load(head, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        found = None
    return found if isinstance(found, dict) else {}


def ingest_dag(dataset_id: str, head: dict[str, Any]) -> DAG:
    """The DAG of one contract."""
    with DAG(
        INGEST + dataset_id, dag_display_name=f"{head.get('name', '')} {dataset_id}".strip(),
        doc_md=(head.get("description") or {}).get("purpose"), tags=[dataset_id.partition(".")[0]],
        schedule=PartitionedAssetTimetable(assets=arrivals(dataset_id)), max_active_runs=1, is_paused_upon_creation=False,
        default_args={"priority_weight": 10, "weight_rule": "absolute"},
    ) as dag:
        keys = receive(dataset_id)["keys"]
        accepted = judge.override(outlets=[HELD])(dataset_id, keys)
        commit.override(outlets=[asset(dataset_id)])(dataset_id, accepted) >> [verdict(dataset_id, keys), feedback(dataset_id, keys)]
    return dag


def databases(head: dict[str, Any]) -> list[tuple[str, str | None]]:
    """(source, schedule) of every database among the sources of a contract; a schedule that is none must not stop the other DAGs."""
    servers = head.get("servers") if isinstance(head.get("servers"), list) else []
    found = []
    for server in (s for s in servers if isinstance(s, dict) and s.get("type") in DIALECTS and WORD.fullmatch(str(s.get("server")))):
        custom = {str(p.get("property")): p.get("value") for p in server.get("customProperties") or () if isinstance(p, dict)}
        found.append((server["server"], custom["schedule"] if is_cron(str(custom.get("schedule"))) else None))
    return found


def extract_dag(dataset_id: str, head: dict[str, Any]) -> DAG:
    """The DAG that reads the databases of one contract, one partitioned run per batch date."""
    cron = databases(head)[0][1]
    schedule = CronPartitionTimetable(cron, timezone="Asia/Shanghai", key_format="%Y-%m-%d") if cron else PartitionedAtRuntime()
    with DAG(
        EXTRACT + dataset_id, dag_display_name=f"{head.get('name', '')} 抽取 {EXTRACT}{dataset_id}".strip(), tags=[dataset_id.partition(".")[0], "extract"],
        schedule=schedule, catchup=False, max_active_runs=1, is_paused_upon_creation=False,
        default_args={"priority_weight": 10, "weight_rule": "absolute"},
    ) as dag:
        for source, _ in databases(head):
            extract.override(task_id=f"extract_{source}", outlets=[arrivals(dataset_id)])(dataset_id, source)
    return dag


def inbox_dag(dataset_ids: list[str]) -> DAG:
    """The DAG between the trigger and the runs: events of a trigger carry no partition key."""
    watched = Asset(name=INBOX, uri="lake://inbox", group="inbox", watchers=[AssetWatcher(name="arrivals", trigger=Arrivals())])
    with DAG(
        INBOX, dag_display_name="收件箱 inbox", doc_md=__doc__, tags=["inbox"], schedule=[watched],
        max_active_runs=1, is_paused_upon_creation=False,
    ) as dag:
        left(announce.override(outlets=[arrivals(i) for i in dataset_ids])(dataset_ids))
    return dag


def release_dag(dataset_ids: list[str]) -> DAG:
    """The one DAG that publishes; its key is always `release`, because a release belongs to no batch date."""
    schedule = PartitionedAssetTimetable(
        assets=AssetAny(*map(asset, dataset_ids)), default_partition_mapper=FixedKeyMapper(RELEASE))
    with DAG(
        RELEASE, dag_display_name="发布 release", doc_md=__doc__, tags=["release"], schedule=schedule,
        max_active_runs=1, is_paused_upon_creation=False,
    ) as dag:
        publish.override(outlets=[RELEASED])()
    return dag


# A task parses this file again: it builds its own DAG only (17 ms instead of 1 s with 200 contracts).
_wanted = get_parsing_context().dag_id
_paths = {f"{path.parent.name}.{path.stem}": path for path in sorted(Project.open().contracts.glob("*/*.yaml"))}
_heads = {i: heading(path) for i, path in _paths.items() if _wanted in (None, INBOX, RELEASE, INGEST + i, EXTRACT + i)}
_scheduled = {i: head for i, head in _heads.items() if head.get("status") not in ("draft", "deprecated")}
for _id, _head in _scheduled.items():
    if _wanted in (None, INGEST + _id):
        globals()[f"ingest_{_id}"] = ingest_dag(_id, _head)
    if _wanted in (None, EXTRACT + _id) and databases(_head):
        globals()[f"extract_{_id}"] = extract_dag(_id, _head)
if _wanted in (None, RELEASE) and _scheduled:
    release = release_dag(list(_scheduled))
if _wanted in (None, INBOX) and _scheduled:
    inbox = inbox_dag(list(_scheduled))
