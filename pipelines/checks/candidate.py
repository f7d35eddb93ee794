"""The release candidate: the derived states about to be published, unmasked, as tables of one connection.

Only the pipeline's account sees them. Where a rule reads other datasets, every dataset is a view `<domain>.<dataset>`; one that holds nothing yet is empty.
"""
from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

import duckdb

from pipelines.compiler import Plan
from pipelines.current import Current
from pipelines.desk import Desk
from pipelines.proof import view_of
from pipelines.semantics import reference
from pipelines.sql import connect, name, texts

STATISTICS, SIGNALS = (Path(__file__).with_name(f"{what}.sql") for what in ("statistics", "signals"))


class Candidate:
    """Plans, states and, once something has to be looked at, a connection over them that reaches nothing else."""

    def __init__(self, desk: Desk, plans: dict[str, Plan], states: dict[str, Current]):
        self.desk, self.plans, self.states = desk, plans, states
        self._opened = ExitStack()

    def close(self) -> None:
        """Close what was opened, and remove what was spilled."""
        self._opened.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    @property
    def scratch(self) -> Path:
        return self.desk.lake.staging / ".checks"

    @cached_property
    def con(self) -> duckdb.DuckDBPyConnection:
        lake = self.desk.lake
        self.scratch.mkdir(exist_ok=True)
        con = self._opened.enter_context(connect(temp=self.scratch))
        reference.ready(con, self.desk.project, lake.staging, self.desk.ledger.added_codes())
        for macros in (STATISTICS, SIGNALS):
            con.execute(macros.read_text("utf-8"))
        allowed = (lake.current, lake.base, self.scratch)
        con.execute(f"SET allowed_directories = {texts(allowed)}; SET enable_external_access = false")
        if any(plan.across for plan in self.plans.values()):      # nothing else reads the datasets by name
            for dataset, plan in self.plans.items():
                con.execute(view_of(dataset, self._rows(dataset, plan)))
        return con

    @cached_property
    def apart(self) -> duckdb.DuckDBPyConnection:
        """A connection over nothing, for small tables that are handed over."""
        return self._opened.enter_context(connect())

    @cached_property
    def shown(self) -> duckdb.DuckDBPyConnection | None:
        """A connection to what analysts see now; None before the first release."""
        database = self.desk.lake.database
        return self._opened.enter_context(duckdb.connect(str(database), read_only=True)) if database.exists() else None

    def _rows(self, dataset: str, plan: Plan) -> str:
        typed = [(n, t) for n, t in plan.physical() if n != "_op"] + [("_source", "VARCHAR")]
        if dataset not in self.states:
            return f"SELECT {', '.join(f'NULL::{t} AS {name(n)}' for n, t in typed)} WHERE false"
        return f"SELECT {', '.join(name(n) for n, _ in typed)} FROM {self.states[dataset].relation}"

    def as_of(self, dataset: str) -> str | None:
        """The newest batch date in the dataset's state, None when it holds nothing."""
        return self.states[dataset].facts["as_of"] if dataset in self.states else None

    def version(self, dataset: str) -> str | None:
        """The version of the dataset's state, None when it holds nothing."""
        return self.states[dataset].facts["version"] if dataset in self.states else None


@contextmanager
def candidate(desk: Desk, plans: dict[str, Plan], states: dict[str, Current]) -> Iterator[Candidate]:
    """The candidate, closed at the end, and what it or a killed one spilled removed."""
    made = Candidate(desk, plans, states)
    try:
        yield made
    finally:
        made.close()
