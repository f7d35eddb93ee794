"""台账: what happened to every batch, as SQL tables beside the Iceberg catalogue (`pipelines.catalogue`).

Rows hold ids, counts, rule ids and times; never a value, a file name or a person. The ledger is exported to
Parquet at every release as `governance.*`. One row of `batches` per (batch_id, revision); a state only moves
received → staged → (accepted | held | refused), and accepted → superseded when a higher revision is accepted.
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from pipelines import catalogue, region_counts as packing
from pipelines.ledger_tables import accepted_values, batches, closings, feedback, files, inbox, meta, new_values, region_counts, rule_results, steps
from pipelines.settings import Lake

_AT_ONCE = 500      # names in one query


def now(hours_ago: float = 0) -> str:
    """The clock of the ledger (UTC, seconds): when something happened here, never a date of the data."""
    return (datetime.now(UTC) - timedelta(hours=hours_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=8)
def _prepared(engine: sa.Engine) -> sa.Engine:
    catalogue.create(engine, meta)
    _add_columns(engine)
    packing.adopt(engine)
    return engine


def _add_columns(engine: sa.Engine) -> None:
    """Give the tables of an older lake the columns that were added since; they are empty for what happened before."""
    inspector = sa.inspect(engine)
    for table in meta.sorted_tables:
        held = {c["name"] for c in inspector.get_columns(table.name)}
        for column in table.c:
            if column.name not in held:
                quoted = engine.dialect.identifier_preparer.format_column(column)
                with engine.begin() as con:
                    con.execute(sa.DDL(f"ALTER TABLE {table.name} ADD COLUMN {quoted} {column.type.compile(engine.dialect)}"))


def today() -> str:
    """The day in Beijing: when deadlines run out and waivers end, never a date of the data."""
    return (datetime.now(UTC) + timedelta(hours=8)).date().isoformat()


class Ledger:
    """Reads and writes the tables above."""

    def __init__(self, lake: Lake):
        self.engine = _prepared(catalogue.engine(lake))
        catalogue.close_to_others(lake)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """One atomic change of several tables."""
        with self.engine.begin() as con:
            yield con

    def rows(self, query: sa.Select) -> list[dict[str, Any]]:
        """The rows of a ledger query as dictionaries."""
        with self.engine.connect() as con:
            found = con.execute(query)
            names = tuple(found.keys())
            return [dict(zip(names, row)) for row in found.all()]

    def batch(self, batch_id: str, revision: int | None = None) -> dict[str, Any] | None:
        """One batch row: of `revision`, or of the latest one."""
        query = sa.select(batches).where(batches.c.batch_id == batch_id).order_by(batches.c.revision.desc())
        if revision is not None:
            query = query.where(batches.c.revision == revision)
        found = self.rows(query.limit(1))
        return found[0] if found else None

    def of(self, table: sa.Table, keys: Iterable[tuple[str, int]], *wanted: sa.ColumnElement[bool]) -> dict[tuple[str, int], list[dict[str, Any]]]:
        """(batch_id, revision) → the rows of a table that has both, for all of `keys`; those of one in the order in which the table gives them.

        Args:
            wanted: conditions on the rows.
        """
        found: dict[tuple[str, int], list[dict[str, Any]]] = {key: [] for key in keys}
        listed = sorted({batch_id for batch_id, _ in found})
        for at in range(0, len(listed), _AT_ONCE):
            for row in self.rows(sa.select(table).where(table.c.batch_id.in_(listed[at:at + _AT_ONCE]), *wanted).order_by(*table.primary_key)):
                if (row["batch_id"], row["revision"]) in found:
                    found[row["batch_id"], row["revision"]].append(row)
        return found

    def failing_regions(self, keys: Iterable[tuple[str, int]]) -> dict[tuple[str, int], list[dict[str, Any]]]:
        """(batch_id, revision) → every rule that fails in a region, and per region in one row without a rule all that do not."""
        return {key: [one for row in rows for one in packing.failing(row["counts"])] for key, rows in self.of(region_counts, keys).items()}

    def closing(self, dataset: str, month: str) -> dict[str, Any] | None:
        """The closing of a month that is in force, None while the month is open."""
        found = self.rows(sa.select(closings).where(
            closings.c.dataset == dataset, closings.c.month == month, closings.c.reopened_at.is_(None)))
        return found[0] if found else None

    def added_codes(self) -> tuple[tuple[str, str, str], ...]:
        """(list, code, label) of every accepted code in force, beyond what the published code lists hold."""
        t = accepted_values
        rows = self.rows(sa.select(t.c.list, t.c.value, t.c.label).where(t.c.revoked_at.is_(None)).order_by(t.c.list, t.c.value))
        return tuple((r["list"], r["value"], r["label"]) for r in rows)

    def add_batch(self, **row: Any) -> bool:
        """Record a received batch; False when this (batch_id, revision) is known already."""
        return self.add_batches([row]) == 1

    def add_batches(self, rows: Sequence[dict[str, Any]]) -> int:
        """Record received batches, of which no (batch_id, revision) is named twice; returns how many were not known already."""
        with self.engine.begin() as con:
            known: set[tuple[str, int]] = set()
            for at in range(0, len(rows), _AT_ONCE):
                listed = [row["batch_id"] for row in rows[at:at + _AT_ONCE]]
                known |= {(b, r) for b, r in con.execute(sa.select(batches.c.batch_id, batches.c.revision).where(batches.c.batch_id.in_(listed)))}
            fresh = [{"state": "received", "received_at": now(), **row} for row in rows if (row["batch_id"], row["revision"]) not in known]
            if fresh:
                con.execute(batches.insert(), fresh)
            for row in fresh:
                if row["revision"] > 1:
                    con.execute(feedback.update().where(
                        feedback.c.batch_id == row["batch_id"], feedback.c.revision < row["revision"], feedback.c.corrected_revision.is_(None)).values(
                        corrected_revision=row["revision"]))
        return len(fresh)

    def add_feedback(self, **row: Any) -> None:
        """Record the pack of one revision of a batch; a later one takes the place of an earlier one."""
        with self.engine.begin() as con:
            same = (feedback.c.batch_id == row["batch_id"]) & (feedback.c.revision == row["revision"])
            found = con.execute(sa.select(feedback).where(same)).mappings().first()
            if found is None:
                con.execute(feedback.insert().values(made_at=now(), **row))
            elif any(found[k] != v for k, v in row.items()):
                con.execute(feedback.update().where(same).values(made_at=now(), **row))

    def update_batches(self, values: Mapping[tuple[str, int], Mapping[str, Any]]) -> None:
        """Change columns of batch rows, the same ones of each."""
        changes = [{"_batch": batch_id, "_revision": revision, **changed} for (batch_id, revision), changed in values.items()]
        if changes:
            with self.engine.begin() as con:
                con.execute(batches.update().where(batches.c.batch_id == sa.bindparam("_batch"), batches.c.revision == sa.bindparam("_revision")), changes)

    def update_batch(self, batch_id: str, revision: int, **values: Any) -> None:
        """Change columns of one batch row."""
        with self.engine.begin() as con:
            con.execute(batches.update().where(
                batches.c.batch_id == batch_id, batches.c.revision == revision).values(**values))

    def unfold(self, dataset: str, decided_by: str) -> None:
        """Give batches that were held because of a baseline back to the gate."""
        with self.engine.begin() as con:
            con.execute(batches.update().where(batches.c.dataset == dataset, batches.c.state == "held", batches.c.decided_by == decided_by)
                        .values(state="staged", reason=None, decided_at=None, decided_by=None))

    def replace_files(self, found: Mapping[tuple[str, int], list[dict[str, Any]]]) -> None:
        """Store what was found of each file of batches, in place of earlier findings."""
        with self.engine.begin() as con:
            _replace(con, files, {key: [{k: ", ".join(map(str, v)) if isinstance(v, list) else v for k, v in one.items() if k in files.c} for one in units]
                                  for key, units in found.items()})

    def replace_inbox(self, dataset: str, rows: list[dict[str, Any]]) -> None:
        """Store what is left in the inbox of one dataset, in place of what was."""
        with self.engine.begin() as con:
            con.execute(inbox.delete().where(inbox.c.dataset == dataset))
            if rows:
                con.execute(inbox.insert(), rows)

    def replace_results(self, found: Mapping[tuple[str, int], Sequence[list[dict[str, Any]]]]) -> None:
        """Store the rule results, the packed counts by region and the codes outside their lists of batches, in place of earlier ones."""
        with self.engine.begin() as con:
            for place, table in enumerate((rule_results, region_counts, new_values)):
                _replace(con, table, {key: three[place] for key, three in found.items()})

    @contextmanager
    def step(self, subject: str, step: str, revision: int | None = None) -> Iterator[dict[str, Any]]:
        """`steps` of one subject; yields its detail."""
        with self.steps([(subject, revision)], step) as details:
            yield details[subject, revision]

    @contextmanager
    def steps(self, subjects: Iterable[tuple[str, int | None]], step: str) -> Iterator[dict[tuple[str, int | None], dict[str, Any]]]:
        """Time a step of one or several (subject, revision) and record its outcome, for each its share of the time.

        Yields for each a dict; what the caller puts into it is its detail. One that the caller takes out is not recorded. An exception is
        recorded by its class only: its text may quote data.
        """
        details: dict[tuple[str, int | None], dict[str, Any]] = {one: {} for one in subjects}
        started, clock, outcome = now(), _seconds(), "done"
        try:
            yield details
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            seconds = round((_seconds() - clock) / max(1, len(details)), 3)
            rows = [{"subject": subject, "revision": revision, "step": step, "started_at": started, "seconds": seconds, "outcome": outcome,
                     "detail": json.dumps(detail, ensure_ascii=False) if detail else None} for (subject, revision), detail in details.items()]
            if rows:
                with self.engine.begin() as con:
                    con.execute(steps.insert(), rows)


def _replace(con: sa.Connection, table: sa.Table, found: Mapping[tuple[str, int], list[dict[str, Any]]]) -> None:
    """Put rows of batches in the place of those that a table has."""
    con.execute(table.delete().where(table.c.batch_id == sa.bindparam("b"), table.c.revision == sa.bindparam("r")), [{"b": b, "r": r} for b, r in found])
    alike: dict[tuple[str, ...], list[tuple]] = {}
    for key, rows in found.items():
        for row in rows:
            alike.setdefault(tuple(row), []).append((*key, *row.values()))
    for columns, rows in alike.items():
        _insert(con, table, ("batch_id", "revision", *columns), rows)


def _insert(con: sa.Connection, table: sa.Table, columns: tuple[str, ...], rows: list[tuple]) -> None:
    """Insert many rows through the driver: SQLAlchemy looks at every value of every row, which takes five times as long."""
    statement = table.insert().compile(dialect=con.dialect, column_keys=list(columns))
    if statement.positional:
        ordered = itemgetter(*(columns.index(name) for name in statement.positiontup))
        con.exec_driver_sql(str(statement), [ordered(row) for row in rows])
    else:
        con.exec_driver_sql(str(statement), [dict(zip(columns, row)) for row in rows])


def _seconds() -> float:
    import time

    return time.monotonic()
