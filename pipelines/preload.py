"""Imported by the process that Airflow forks its tasks from: a task then has every step imported, with what the steps import only where they need it, and
every page's template compiled, from its first moment.

A task that is forked after the program was changed forgets what was imported, and imports it anew.
"""
from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import duckdb_sqlalchemy  # noqa: F401
import pyiceberg.avro.decoder_fast
import pyiceberg.io.pyarrow  # noqa: F401
import rich.console  # noqa: F401
import sqlglot.generators.duckdb
import sqlglot.lineage
import sqlglot.optimizer.qualify
import sqlglot.parsers.duckdb  # noqa: F401
from sqlalchemy.orm import configure_mappers

from pipelines import approvals, steps  # noqa: F401
from pipelines.feedback import pack  # noqa: F401
from pipelines.gate import suite
from pipelines.site import building, rendering  # noqa: F401

ROOT = Path(__file__).resolve().parent
PLACES = (ROOT, suite.PLUGINS)


def _sources() -> frozenset[tuple[str, int, int]]:
    """Every file of the program, with its time and size."""
    found = ((path, path.stat()) for place in PLACES for kind in ("py", "sql", "j2") for path in place.rglob(f"*.{kind}"))
    return frozenset((str(path), state.st_mtime_ns, state.st_size) for path, state in found)


def _forget_when_changed() -> None:
    if _sources() != _IMPORTED:
        own = {__package__, *(path.stem for path in suite.PLUGINS.glob("*.py"))}
        for module in [m for m in sys.modules if m.partition(".")[0] in own]:
            del sys.modules[module]


suite.great_expectations()
import expect_rule_to_hold  # noqa: E402, F401
import offline_docs  # noqa: E402

rendering.compile_templates()
offline_docs.compile_templates()
configure_mappers()      # the catalogue's tables are mapped by a library that also Airflow uses, which imports all its models at the first of them
_IMPORTED = _sources()
# What is here now is never garbage: no collection of a task goes through it, nor copies its pages (a fifth of what judging a small batch costs).
gc.collect()
gc.freeze()
os.register_at_fork(after_in_child=_forget_when_changed)
