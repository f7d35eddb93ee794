"""Grants: who asks for more than the default file, who decides, and when a grant is over.

`grant` is started by hand with a form: what one person requests another grants. `grants.daily` removes every morning what has run out, so
that no file stays for want of a release. Ids, columns and conditions over published columns only go through XCom.
"""
from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import DAG, CronTriggerTimetable, Param, get_parsing_context, task
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.tasks import call

GRANT, DAILY = "grant", "grants.daily"
AGREE, REFUSE = "同意 Grant", "不同意 Refuse"
WAITING = 256      # requests that may wait for an answer at once
RETRY = {"retries": 2, "retry_delay": timedelta(seconds=20)}
FORM = {name: Param("", type="string", title=title) for name, title in {
    "datasets": "数据资源 datasets", "role": "角色 role: analyst, analyst_pii, case_officer", "columns": "字段 columns", "rows": "行条件 rows（可空）", "purpose": "用途 purpose",
    "request": "申请编号 request", "until": "截止日期 last day YYYY-MM-DD", "group": "读者组 group（可空）"}.items()}
log = logging.getLogger("lake")


@task(**RETRY)
def propose(params: dict[str, Any] | None = None) -> dict[str, str]:
    """Try what is requested and word the question about it."""
    return call("grants.ask", _requested(params))


@task(pool="engine", **RETRY)
def enter(answer: dict[str, Any], params: dict[str, Any] | None = None) -> int:
    """Make the grant and its files, where the officer agrees."""
    user = answer.get("responded_by_user") or {}
    number = call("grants.answer", _requested(params), answer["chosen_options"] == [AGREE], user.get("name") or user.get("id") or "airflow")
    if number is None:
        raise AirflowSkipException("The grant was not given.")
    return number


@task(**RETRY)
def expire() -> list[int]:
    """Remove the files of grants whose last day has passed."""
    ended = call("grants.expire")
    log.info("grants that ended: %s", ended)
    return ended


def _requested(params: dict[str, Any] | None) -> dict[str, str]:
    return {name: str((params or {}).get(name) or "") for name in FORM}


def grant_dag() -> DAG:
    """A request: try it, ask, make it."""
    with DAG(GRANT, dag_display_name="授权 grant", doc_md=__doc__, tags=["desk"], schedule=None, catchup=False, params=FORM, max_active_runs=WAITING, max_active_tasks=WAITING,
             is_paused_upon_creation=False) as dag:
        asked = propose()
        decide = HITLOperator(task_id="decide", subject="{{ ti.xcom_pull(task_ids='propose')['subject'] }}", body="{{ ti.xcom_pull(task_ids='propose')['body'] }}",
                              options=[AGREE, REFUSE])
        asked >> decide
        enter(decide.output)
    return dag


def daily_dag() -> DAG:
    """Every morning, before people come."""
    with DAG(DAILY, dag_display_name="授权到期 grants", doc_md=__doc__, tags=["maintenance"], schedule=CronTriggerTimetable("10 0 * * *", timezone="Asia/Shanghai"), catchup=False,
             max_active_runs=1, is_paused_upon_creation=False) as dag:
        expire()
    return dag


_wanted = get_parsing_context().dag_id
if _wanted in (None, GRANT):
    grant = grant_dag()
if _wanted in (None, DAILY):
    daily = daily_dag()
