"""Imported by the process that Airflow forks its tasks from: a task then has every step imported, and every page's template compiled, from its first moment.

A task that is forked after the program was changed forgets what was imported, and imports it anew.
"""
from __future__ import annotations

import os
import sys
from pathlib import Path

import sqlglot.optimizer.qualify  # noqa: F401 - by which views are followed

from pipelines import approvals, steps  # noqa: F401
from pipelines.feedback import pack  # noqa: F401
from pipelines.site import rendering

ROOT = Path(__file__).resolve().parent


def _sources() -> frozenset[tuple[str, int, int]]:
    """Every file of the program, with its time and size."""
    found = ((path, path.stat()) for kind in ("py", "sql", "j2") for path in ROOT.rglob(f"*.{kind}"))
    return frozenset((str(path), state.st_mtime_ns, state.st_size) for path, state in found)


def _forget_when_changed() -> None:
    if _sources() != _IMPORTED:
        for module in [m for m in sys.modules if m.partition(".")[0] == __package__]:
            del sys.modules[module]


rendering.compile_templates()
_IMPORTED = _sources()
os.register_at_fork(after_in_child=_forget_when_changed)
