"""The Airflow assets by which DAGs fire each other; a DAG file imports this while it is parsed, so nothing heavy stands here."""
from __future__ import annotations

from typing import Any

from airflow.sdk import Asset

RELEASED = Asset(name="released", uri="lake://released", group="release")
HELD = Asset(name="held", uri="lake://held", group="held")      # one event per held batch that an officer may decide about; its key is the batch's


def arrivals(dataset_id: str) -> Asset:
    """What one dataset's inbox holds."""
    return Asset(name=f"inbox/{dataset_id}", uri=f"lake://inbox/{dataset_id}", group="inbox")


def asset(dataset_id: str) -> Asset:
    """One dataset of the base."""
    return Asset(name=dataset_id, uri=f"lake://base/{dataset_id}", group="dataset")


def announce(task: Any, outlet_events: Any, keys: dict[Asset, list[str]]) -> None:
    """Emit these partition keys, and nothing for the task's other outlets.

    An outlet without a key would enter an event that fires nothing and a complaint about it.
    """
    task.outlets = list(keys)
    for one, wanted in keys.items():
        outlet_events[one].add_partitions(wanted)
