"""The quality officer's desk: when departments are told, and what officers are asked.

`desk` follows every release and every held batch, `desk.daily` comes every morning: both tell departments what changed about their problems.
`approvals` is fired by `held`, one run per batch, with the batch as partition key: an officer releases it or confirms the hold. A release
goes on by itself: it fires the dataset's `ingest`, which commits the batch. Many may wait for an answer at once, and none blocks another.
`waive` and `accept_value` are started by hand with a form: what one person proposes another grants. An accepted code fires `ingest` of the datasets
whose held batches wait for it. Counts, codes, rule names and batches only go through XCom.
"""
from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import (
    DAG,
    AssetAny,
    CronTriggerTimetable,
    FixedKeyMapper,
    Param,
    PartitionedAssetTimetable,
    get_parsing_context,
    task,
)
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from pipelines.assets import HELD, RELEASED, announce, arrivals
from pipelines.settings import Project
from pipelines.tasks import call

DESK, DAILY, APPROVALS, WAIVE, ACCEPT_VALUE = "desk", "desk.daily", "approvals", "waive", "accept_value"
RELEASE, HOLD, GRANT, REFUSE = "放行 Release", "维持扣留 Hold", "同意 Grant", "不同意 Refuse"
WAITING = 256      # batches that may wait for an answer: with Airflow's default the seventeenth would not be asked about
RETRY = {"retries": 2, "retry_delay": timedelta(seconds=20)}
log = logging.getLogger("lake")


@task(retries=3, retry_delay=timedelta(minutes=10))
def alert() -> dict[str, int]:
    """Tell departments what changed; what could not be sent is tried again, and told by the next run at the latest."""
    done = call("alerts.send")
    outcomes = [one["outcome"].partition(":")[0] for one in done]
    counts = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
    log.info("messages: %s", counts)
    if counts.get("failed"):
        raise RuntimeError(f"{counts['failed']} of {len(done)} messages could not be sent; why: python -m pipelines query "
                           '"SELECT department, channel, outcome FROM governance.alerts". They are sent again.')
    return counts


@task(**RETRY)
def ask(partition_key: str | None = None) -> dict[str, str]:
    """Word the question about one held batch; nothing to ask when it was decided or corrected meanwhile."""
    if partition_key is None:
        raise AirflowFailException("Give the held batch as partition key (population.person~public_security~640100~2026-11-01~1~r1).")
    found = call("approvals.ask", partition_key)
    if not found:
        raise AirflowSkipException(f"{partition_key}: there is nothing to decide")
    return found


@task(**RETRY)
def settle(answer: dict[str, Any], partition_key: str | None = None, outlet_events: Any = None, task: Any = None) -> str:
    """Do what the officer decided; a released batch goes on its way."""
    done = call("approvals.answer", partition_key, answer["chosen_options"] == [RELEASE], _who(answer), (answer["params_input"] or {}).get("reason") or "")
    announce(task, outlet_events, {arrivals(done["dataset"]): [done["batch_date"]]} if done["state"] == "passed" else {})
    log.info("%s: %s", partition_key, done["state"])
    return done["state"]


@task(**RETRY)
def propose(params: dict[str, Any] | None = None) -> dict[str, str]:
    """Try the proposed waiver and word the question about it."""
    return call("waivers.ask", _proposed(FORM, params))


@task(**RETRY)
def grant(answer: dict[str, Any], params: dict[str, Any] | None = None) -> int:
    """Enter the waiver, where the officer agrees."""
    number = call("waivers.answer", _proposed(FORM, params), answer["chosen_options"] == [GRANT], _who(answer))
    if number is None:
        raise AirflowSkipException("The waiver was not granted.")
    return number


@task(**RETRY)
def examine(params: dict[str, Any] | None = None) -> dict[str, str]:
    """Try the proposed code and word the question about it."""
    return call("accepting.ask", _proposed(CODE, params))


@task(**RETRY)
def accept(answer: dict[str, Any], params: dict[str, Any] | None = None, outlet_events: Any = None, task: Any = None) -> int:
    """Take the code into its list, where the officer agrees; the batches that wait for it are judged again."""
    done = call("accepting.answer", _proposed(CODE, params), answer["chosen_options"] == [GRANT], _who(answer))
    if done is None:
        raise AirflowSkipException("The code was not accepted.")
    announce(task, outlet_events, {arrivals(dataset): days for dataset, days in done["waiting"].items()})
    log.info("acceptance %s: %d datasets judge batches again", done["id"], len(done["waiting"]))
    return done["id"]


def _who(answer: dict[str, Any]) -> str:
    """Who answered, by the name that Airflow knows."""
    user = answer.get("responded_by_user") or {}
    return user.get("name") or user.get("id") or "airflow"


def _proposed(form: dict[str, Param], params: dict[str, Any] | None) -> dict[str, str]:
    return {name: str((params or {}).get(name) or "") for name in form}


def _form(**titles: str) -> dict[str, Param]:
    return {name: Param("", type="string", title=title) for name, title in titles.items()}


FORM = _form(dataset_id="数据资源 dataset", rule="规则 rule", source="数源部门 source", part="分区 part（可空）", owner="责任部门 owner", document="文号 document",
             reason="理由 reason", until="截止报送日期 last batch date YYYY-MM-DD")
CODE = _form(dataset_id="数据资源 dataset", column="字段 column", value="代码 code", label="含义 what it means", document="文号 document")


def _dag(name: str, title: str, schedule: Any, **more: Any) -> DAG:
    return DAG(name, dag_display_name=f"{title} {name}", doc_md=__doc__, tags=["desk"], schedule=schedule, catchup=False, is_paused_upon_creation=False,
               **({"max_active_runs": 1} | more))


def desk_dag() -> DAG:
    """After releases and held batches: tell departments."""
    with _dag(DESK, "通知", PartitionedAssetTimetable(assets=AssetAny(RELEASED, HELD), default_partition_mapper=FixedKeyMapper(DESK))) as dag:
        alert()
    return dag


def daily_dag() -> DAG:
    """Every morning: what the day itself changes, and what could not be sent."""
    with _dag(DAILY, "每日通知", CronTriggerTimetable("30 8 * * *", timezone="Asia/Shanghai")) as dag:
        alert()
    return dag


def approvals_dag(dataset_ids: list[str]) -> DAG:
    """One run per held batch: ask, wait for the officer, do it."""
    with _dag(APPROVALS, "裁定", PartitionedAssetTimetable(assets=HELD), max_active_runs=WAITING, max_active_tasks=WAITING) as dag:
        asked = ask()
        decide = HITLOperator(task_id="decide", subject="{{ ti.xcom_pull(task_ids='ask')['subject'] }}", body="{{ ti.xcom_pull(task_ids='ask')['body'] }}",
                              options=[RELEASE, HOLD], params={"reason": Param("", type="string", title="理由 reason")})
        asked >> decide
        settle.override(outlets=[arrivals(i) for i in dataset_ids])(decide.output)
    return dag


def waive_dag() -> DAG:
    """A proposed waiver: try it, ask, enter it."""
    with _dag(WAIVE, "豁免", None, params=FORM, max_active_runs=WAITING, max_active_tasks=WAITING) as dag:
        asked = propose()
        decide = HITLOperator(task_id="decide", subject="{{ ti.xcom_pull(task_ids='propose')['subject'] }}", body="{{ ti.xcom_pull(task_ids='propose')['body'] }}",
                              options=[GRANT, REFUSE])
        asked >> decide
        grant(decide.output)
    return dag


def accept_value_dag(dataset_ids: list[str]) -> DAG:
    """A proposed code value: try it, ask, take it into its list, have the batches that wait judged again."""
    with _dag(ACCEPT_VALUE, "认定新值", None, params=CODE, max_active_runs=WAITING, max_active_tasks=WAITING) as dag:
        asked = examine()
        decide = HITLOperator(task_id="decide", subject="{{ ti.xcom_pull(task_ids='examine')['subject'] }}", body="{{ ti.xcom_pull(task_ids='examine')['body'] }}",
                              options=[GRANT, REFUSE])
        asked >> decide
        accept.override(outlets=[arrivals(i) for i in dataset_ids])(decide.output)
    return dag


_wanted = get_parsing_context().dag_id
if _wanted in (None, DESK):
    desk = desk_dag()
if _wanted in (None, DAILY):
    daily = daily_dag()
if _wanted in (None, APPROVALS, ACCEPT_VALUE):
    _datasets = sorted(f"{path.parent.name}.{path.stem}" for path in Project.open().contracts.glob("*/*.yaml"))
if _wanted in (None, APPROVALS):
    approvals = approvals_dag(_datasets)
if _wanted in (None, ACCEPT_VALUE):
    accept_value = accept_value_dag(_datasets)
if _wanted in (None, WAIVE):
    waive = waive_dag()
