"""When the lake is looked after: every Sunday at 02:00 a backup (where LAKE_BACKUP names a place), maintenance, and verify.

The backup comes first, so that it holds what maintenance folds; `verify` fails with its findings and their remedies.
All three can also be run by hand at any time: `python -m pipelines backup | maintain | verify`.
"""
from __future__ import annotations

import logging
import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, CronTriggerTimetable, get_parsing_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from pipelines.tasks import call

MAINTENANCE = "maintenance"
RETRY = {"retries": 2, "retry_delay": timedelta(minutes=5)}
log = logging.getLogger("lake")


@task(pool="engine", **RETRY)
def backup() -> dict[str, int | str]:
    """Copy the lake of this moment to LAKE_BACKUP, a folder on another disk."""
    place = os.environ.get("LAKE_BACKUP")
    if not place:
        raise AirflowSkipException("LAKE_BACKUP names no folder; nothing was copied.")
    done = call("backup.backup", Path(place))
    log.info("%s: %d files, %d bytes, %d of them copied now", done["backup"], done["files"], done["bytes"], done["copied"])
    return {name: done[name] for name in ("backup", "files", "bytes", "copied")}


@task(pool="engine", pool_slots=2, trigger_rule="none_failed", **RETRY)
def maintain() -> list[dict[str, int | str]]:
    """Fold old batches, expire snapshots that no kept release stands on, remove what nothing names."""
    done = call("maintenance.maintain")
    for one in done:
        log.info("%s", one)
    return done


@task(pool="engine", trigger_rule="none_failed", retries=0)
def verify() -> dict[str, int]:
    """Compare every file, reference and row count of the lake with what was put there."""
    found = call("verify.verify")
    if found["findings"]:
        raise AirflowFailException("\n".join(f"{f['path']}: {f['problem']}. What to do: {f['remedy']}." for f in found["findings"]))
    return {"files": found["files"], "bytes": found["bytes"]}


def maintenance_dag() -> DAG:
    """The DAG; nobody has to trigger it."""
    with DAG(
        MAINTENANCE, dag_display_name="维护 maintenance", doc_md=__doc__, tags=["maintenance"], catchup=False, max_active_runs=1,
        schedule=CronTriggerTimetable("0 2 * * 0", timezone="Asia/Shanghai"), is_paused_upon_creation=False,
    ) as dag:
        backup() >> maintain() >> verify()
    return dag


if get_parsing_context().dag_id in (None, MAINTENANCE):
    maintenance = maintenance_dag()
