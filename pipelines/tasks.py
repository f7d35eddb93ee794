"""How a task of Airflow calls a function of `pipelines`: what is raised is safe to log, and is retried only where that can help."""
from __future__ import annotations

from importlib import import_module
from typing import Any


def call(function: str, *arguments: Any, **options: Any) -> Any:
    """Call `module.function` of `pipelines`, imported now: DAG files are parsed without what it needs.

    Raises:
        RuntimeError: trouble outside the data; Airflow tries again where the task allows it.
        AirflowFailException: anything else.
    """
    from airflow.sdk.exceptions import AirflowFailException

    from pipelines import store
    from pipelines.failures import may_pass, tell

    module, _, name = function.rpartition(".")
    try:
        with store.session():
            return getattr(import_module(f"pipelines.{module}"), name)(*arguments, **options)
    except Exception as error:
        text, passing = tell(error), may_pass(error)
    raise RuntimeError(text) if passing else AirflowFailException(text)
