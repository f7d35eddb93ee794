"""When the monthly health checks 体检报告 are written: on the 5th of a month at 06:00 for the month before, one per division and department.

They are kept under `reports/months/`. A run triggered by hand takes its month from the configuration, `{"month": "2026-11"}`, and may be repeated:
the same ledger gives the same reports. By hand: `python -m pipelines health-check 2026-11`.
"""
from __future__ import annotations

import logging
from datetime import date, timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, Param, get_parsing_context, task

from pipelines.tasks import call

HEALTH_CHECK = "health_check"
ZONE = "Asia/Shanghai"
log = logging.getLogger("lake")


@task(pool="engine", retries=2, retry_delay=timedelta(minutes=10))
def write(dag_run: Any = None, params: dict[str, str] | None = None) -> dict[str, Any]:
    """Write the health checks of the month before the run, or of the month given."""
    month = (params or {}).get("month") or month_before(dag_run.run_after)
    found = call("site.health.of_lake", month)
    log.info("%s: %d reports, %d as PDF", month, found["pages"], found["pdfs"])
    if found["message"]:
        log.warning("%s", found["message"])
    return {name: found[name] for name in ("month", "pages", "pdfs")}


def month_before(moment: Any) -> str:
    """The month (YYYY-MM) before the one of a moment, by the clock of China."""
    from zoneinfo import ZoneInfo

    local = moment.astimezone(ZoneInfo(ZONE))
    return f"{date(local.year, local.month, 1) - timedelta(days=1):%Y-%m}"


def health_check_dag() -> DAG:
    """The DAG; nobody has to trigger it."""
    with DAG(
        HEALTH_CHECK, dag_display_name="月度体检报告 health check", doc_md=__doc__, tags=["quality"], catchup=False, max_active_runs=1,
        schedule=CronTriggerTimetable("0 6 5 * *", timezone=ZONE), is_paused_upon_creation=False,
        params={"month": Param("", type="string", pattern=r"^(\d{4}-\d{2})?$", title="月份 month, YYYY-MM", description="空：上一个月 empty: the month before")},
    ) as dag:
        write()
    return dag


if get_parsing_context().dag_id in (None, HEALTH_CHECK):
    health_check = health_check_dag()
