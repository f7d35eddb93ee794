"""Parses the DAG folder once, in a process of its own, and prints what came of it as JSON."""
import json
import os
import sys
import time

import airflow.sdk  # noqa: F401 - what is measured is the time beyond importing Airflow
from airflow.dag_processing.dagbag import DagBag
from airflow.models.serialized_dag import SerializedDagModel
from airflow.serialization.serialized_objects import DagSerialization


def _task(task) -> dict:
    return {"downstream": sorted(task.downstream_task_ids), "retries": task.retries, "pool": task.pool, "slots": task.pool_slots,
            "trigger": str(task.trigger_rule.value), "outlets": [a.uri for a in task.outlets], "priority": task.priority_weight}


def _assets(dag) -> list:
    """The assets that fire a DAG."""
    condition = getattr(dag.timetable, "asset_condition", None)
    if condition is None:
        return []
    return list(getattr(condition, "objects", [condition]))


folder, want = sys.argv[1], sys.argv[2:]
if want:
    os.environ["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = want[0]
loaded = set(sys.modules)
seconds = []
for _ in range(1 if want else 3):
    began = time.process_time()
    bag = DagBag(folder)
    seconds.append(time.process_time() - began)
print(json.dumps({
    "seconds": min(seconds),
    "errors": bag.import_errors,
    "modules": sorted(set(sys.modules) - loaded),
    "hashes": {i: SerializedDagModel.hash(DagSerialization.to_dict(d)) for i, d in sorted(bag.dags.items())},
    "titles": {i: d.dag_display_name for i, d in bag.dags.items()},
    "runs": {i: d.max_active_runs for i, d in bag.dags.items()},
    "schedules": {i: sorted(a.uri for a in _assets(d)) for i, d in bag.dags.items()},
    "timetables": {i: [type(d.timetable).__name__, getattr(d.timetable, "expression", None)] for i, d in bag.dags.items()},
    "watchers": {i: found for i, d in bag.dags.items() if (found := {w.name: w.trigger.serialize()[0] for a in _assets(d) for w in a.watchers})},
    "tasks": {i: {t.task_id: _task(t) for t in d.tasks} for i, d in bag.dags.items()},
}))
