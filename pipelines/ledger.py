"""台账: what happened to every batch, as SQL tables beside the Iceberg catalogue (`pipelines.catalogue`).

Rows hold ids, counts, rule ids and times; never a value, a file name or a person. The ledger is exported to
Parquet at every release as `governance.*`. One row of `batches` per (batch_id, revision); a state only moves
received → staged → (accepted | held | refused), and accepted → superseded when a higher revision is accepted.
"""
from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from pipelines import catalogue
from pipelines.settings import Lake

meta = sa.MetaData()
_text, _int, _real = sa.String, sa.BigInteger, sa.Float

batches = sa.Table(
    "ledger_batches", meta,
    sa.Column("batch_id", _text, primary_key=True), sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("dataset", _text, nullable=False), sa.Column("source", _text, nullable=False),
    sa.Column("part", _text, nullable=False), sa.Column("batch_date", _text, nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False), sa.Column("state", _text, nullable=False),
    sa.Column("received_at", _text, nullable=False), sa.Column("decided_at", _text), sa.Column("decided_by", _text),
    sa.Column("reason", _text), sa.Column("code", _text), sa.Column("files", _int), sa.Column("bytes", _int), sa.Column("lines", _int),
    sa.Column("header", _int), sa.Column("trailer", _int), sa.Column("blank", _int), sa.Column("inner_line_ends", _int),
    sa.Column("records", _int), sa.Column("accepted", _int), sa.Column("copies", _int),
    sa.Column("superseded", _int), sa.Column("quarantined", _int), sa.Column("deletes", _int),
    sa.Column("unparseable", _int), sa.Column("repaired", _int), sa.Column("reading", _text),
    sa.Column("loss_budget", _real),
    sa.Column("unmapped_columns", _int), sa.Column("score", _real), sa.Column("seconds", _real),
    sa.Column("contract_hash", _text), sa.Column("code_version", _text), sa.Column("lists_hash", _text),
    sa.Column("key_id", _text), sa.Column("waivers_hash", _text), sa.Column("builds_on", sa.Integer), sa.Column("corrected", _int), sa.Column("cancelled", _int),
)
files = sa.Table(
    "ledger_files", meta,
    sa.Column("batch_id", _text, primary_key=True), sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("file", sa.Integer, primary_key=True), sa.Column("submitted", _int), sa.Column("member", _int),
    sa.Column("form", _text), sa.Column("encoding", _text), sa.Column("evidence", _text), sa.Column("header_row", _int),
    sa.Column("width", _int), sa.Column("unread", _text), sa.Column("absent", _text), sa.Column("reading", _text),
    sa.Column("lines", _int), sa.Column("records", _int), sa.Column("unparseable", _int), sa.Column("repairs", _int),
    sa.Column("damaged", _int),
)
steps = sa.Table(
    "ledger_steps", meta,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True), sa.Column("subject", _text, nullable=False),
    sa.Column("revision", sa.Integer), sa.Column("step", _text, nullable=False),
    sa.Column("started_at", _text, nullable=False), sa.Column("seconds", _real),
    sa.Column("outcome", _text, nullable=False), sa.Column("detail", _text),
)
rule_results = sa.Table(
    "ledger_rule_results", meta,
    sa.Column("batch_id", _text, primary_key=True), sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("rule", _text, primary_key=True), sa.Column("column", _text), sa.Column("reason", _text),
    sa.Column("zh", _text), sa.Column("en", _text), sa.Column("indicator", _text), sa.Column("severity", _text),
    sa.Column("owner", _text), sa.Column("at_least", _real), sa.Column("applicable", _int),
    sa.Column("failed", _int), sa.Column("repaired", _int), sa.Column("pass_rate", _real), sa.Column("outcome", _text),
    sa.Column("waived", _int), sa.Column("definition", _text),
)
rule_counts = sa.Table(
    "ledger_rule_counts", meta,
    sa.Column("batch_id", _text, primary_key=True), sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("region", _text, primary_key=True), sa.Column("rule", _text, primary_key=True),
    sa.Column("applicable", _int), sa.Column("failed", _int), sa.Column("repaired", _int), sa.Column("waived", _int),
)
releases = sa.Table(
    "ledger_releases", meta,
    sa.Column("release_id", sa.Integer, primary_key=True), sa.Column("created_at", _text, nullable=False),
    sa.Column("state", _text, nullable=False), sa.Column("reason", _text), sa.Column("manifest_hash", _text),
)
release_datasets = sa.Table(
    "ledger_release_datasets", meta,
    sa.Column("release_id", sa.Integer, primary_key=True), sa.Column("dataset", _text, primary_key=True),
    sa.Column("version", _text, nullable=False), sa.Column("rows", _int), sa.Column("stale_rows", _int),
    sa.Column("disagreements", _int), sa.Column("as_of", _text),
)
closings = sa.Table(
    "ledger_closings", meta,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True), sa.Column("dataset", _text, nullable=False),
    sa.Column("month", _text, nullable=False), sa.Column("release_id", sa.Integer), sa.Column("closed_at", _text, nullable=False),
    sa.Column("reason", _text, nullable=False), sa.Column("reopened_at", _text), sa.Column("reopened_reason", _text),
)
inbox = sa.Table(
    "ledger_inbox", meta,
    sa.Column("dataset", _text, primary_key=True), sa.Column("source", _text, primary_key=True),
    sa.Column("batch_date", _text, primary_key=True), sa.Column("code", _text, primary_key=True),
    sa.Column("files", _int, nullable=False), sa.Column("message", _text, nullable=False), sa.Column("seen_at", _text, nullable=False),
)
objects = sa.Table(
    "ledger_objects", meta,
    sa.Column("path", _text, primary_key=True), sa.Column("sha256", _text, nullable=False), sa.Column("bytes", _int, nullable=False),
    sa.Column("entered_at", _text, nullable=False),
)
backups = sa.Table(
    "ledger_backups", meta,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True), sa.Column("name", _text, nullable=False), sa.Column("place", _text, nullable=False),
    sa.Column("made_at", _text, nullable=False), sa.Column("files", _int, nullable=False), sa.Column("bytes", _int, nullable=False),
)
withdrawals = sa.Table(
    "ledger_withdrawals", meta,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True), sa.Column("dataset", _text, nullable=False),
    sa.Column("key", _text, nullable=False), sa.Column("basis", _text, nullable=False), sa.Column("document", _text, nullable=False),
    sa.Column("withdrawn_at", _text, nullable=False), sa.Column("state", _text, nullable=False), sa.Column("rows", _int), sa.Column("releases", _int),
    sa.Column("lifted_at", _text), sa.Column("lifted_reason", _text),
)
checks = sa.Table(
    "ledger_checks", meta,
    sa.Column("dataset", _text, primary_key=True), sa.Column("rule", _text, primary_key=True), sa.Column("source", _text, primary_key=True),
    sa.Column("as_of", _text, primary_key=True), sa.Column("kind", _text, nullable=False), sa.Column("column", _text), sa.Column("reason", _text),
    sa.Column("zh", _text), sa.Column("en", _text), sa.Column("indicator", _text), sa.Column("severity", _text), sa.Column("owner", _text),
    sa.Column("at_least", _real), sa.Column("applicable", _int), sa.Column("failed", _int), sa.Column("pass_rate", _real),
    sa.Column("outcome", _text), sa.Column("checked_at", _text), sa.Column("detail", _text),
)
check_counts = sa.Table(
    "ledger_check_counts", meta,
    sa.Column("dataset", _text, primary_key=True), sa.Column("rule", _text, primary_key=True), sa.Column("source", _text, primary_key=True),
    sa.Column("as_of", _text, primary_key=True), sa.Column("region", _text, primary_key=True), sa.Column("applicable", _int), sa.Column("failed", _int),
)
profiles = sa.Table(
    "ledger_profiles", meta,
    sa.Column("batch_id", _text, primary_key=True), sa.Column("revision", sa.Integer, primary_key=True), sa.Column("column", _text, primary_key=True),
    sa.Column("records", _int), sa.Column("filled", _int), sa.Column("distinct_values", _int),
)
profile_values = sa.Table(
    "ledger_profile_values", meta,
    sa.Column("batch_id", _text, primary_key=True), sa.Column("revision", sa.Integer, primary_key=True), sa.Column("column", _text, primary_key=True),
    sa.Column("value", _text, primary_key=True), sa.Column("rows", _int),
)
signals = sa.Table(
    "ledger_signals", meta,
    sa.Column("dataset", _text, primary_key=True), sa.Column("source", _text, primary_key=True), sa.Column("as_of", _text, primary_key=True),
    sa.Column("signal", _text, primary_key=True), sa.Column("column", _text, primary_key=True), sa.Column("value", _real), sa.Column("peers", _real),
    sa.Column("n", _int), sa.Column("p", _real), sa.Column("evidence", _text), sa.Column("explanation", _text),
)
problems = sa.Table(
    "ledger_problems", meta,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True), sa.Column("dataset", _text, nullable=False), sa.Column("rule", _text, nullable=False),
    sa.Column("department", _text, nullable=False), sa.Column("source", _text), sa.Column("state", _text, nullable=False),
    sa.Column("zh", _text), sa.Column("en", _text), sa.Column("severity", _text), sa.Column("opened_at", _text, nullable=False), sa.Column("opened_batch", _text),
    sa.Column("due_on", _text), sa.Column("batch_id", _text), sa.Column("revision", sa.Integer), sa.Column("batch_date", _text),
    sa.Column("applicable", _int), sa.Column("failed", _int), sa.Column("waived", _int), sa.Column("pass_rate", _real), sa.Column("at_least", _real),
    sa.Column("reopened", _int, nullable=False), sa.Column("changed_at", _text, nullable=False), sa.Column("changed_by", _text, nullable=False),
    sa.Column("note", _text), sa.UniqueConstraint("dataset", "rule", "department"),
)
problem_events = sa.Table(
    "ledger_problem_events", meta,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True), sa.Column("problem", _int, nullable=False), sa.Column("at", _text, nullable=False),
    sa.Column("state", _text, nullable=False), sa.Column("by", _text, nullable=False), sa.Column("batch_id", _text), sa.Column("revision", sa.Integer),
    sa.Column("batch_date", _text), sa.Column("definition", _text), sa.Column("note", _text),
)
waivers = sa.Table(
    "ledger_waivers", meta,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True), sa.Column("dataset", _text, nullable=False), sa.Column("rule", _text, nullable=False),
    sa.Column("source", _text, nullable=False), sa.Column("part", _text), sa.Column("owner", _text, nullable=False), sa.Column("document", _text, nullable=False),
    sa.Column("reason", _text, nullable=False), sa.Column("granted_at", _text, nullable=False), sa.Column("granted_by", _text, nullable=False),
    sa.Column("expires_on", _text, nullable=False), sa.Column("keys", _int), sa.Column("ended_at", _text), sa.Column("ended_reason", _text),
)
waiver_keys = sa.Table(
    "ledger_waiver_keys", meta,
    sa.Column("waiver", sa.Integer, primary_key=True), sa.Column("key", _text, primary_key=True),
)
approvals = sa.Table(
    "ledger_approvals", meta,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True), sa.Column("batch_id", _text, nullable=False), sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("decision", _text, nullable=False), sa.Column("decided_by", _text, nullable=False), sa.Column("reason", _text, nullable=False),
    sa.Column("decided_at", _text, nullable=False),
)
alerts = sa.Table(
    "ledger_alerts", meta,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True), sa.Column("department", _text, nullable=False), sa.Column("channel", _text, nullable=False),
    sa.Column("sent_at", _text, nullable=False), sa.Column("opened", _int), sa.Column("reopened", _int), sa.Column("verified", _int), sa.Column("overdue", _int),
    sa.Column("ended", _int), sa.Column("digest", _text, nullable=False), sa.Column("outcome", _text, nullable=False),
)
alert_items = sa.Table(
    "ledger_alert_items", meta,
    sa.Column("alert", sa.Integer, primary_key=True), sa.Column("subject", _text, primary_key=True), sa.Column("change", _text, primary_key=True),
    sa.Column("openings", _int),
)
feedback = sa.Table(
    "ledger_feedback", meta,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True), sa.Column("batch_id", _text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False), sa.Column("department", _text, nullable=False), sa.Column("made_at", _text, nullable=False),
    sa.Column("rows", _int, nullable=False), sa.Column("path", _text, nullable=False), sa.Column("sha256", _text, nullable=False),
    sa.Column("encrypted", sa.Integer, nullable=False), sa.Column("corrected_revision", sa.Integer),
    sa.UniqueConstraint("batch_id", "revision"),
)
accepted_values = sa.Table(
    "ledger_accepted_values", meta,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True), sa.Column("dataset", _text, nullable=False), sa.Column("column", _text, nullable=False),
    sa.Column("list", _text, nullable=False), sa.Column("value", _text, nullable=False), sa.Column("label", _text, nullable=False),
    sa.Column("document", _text, nullable=False), sa.Column("accepted_by", _text, nullable=False), sa.Column("accepted_at", _text, nullable=False),
    sa.Column("revoked_at", _text),
)
new_values = sa.Table(
    "ledger_new_values", meta,
    sa.Column("batch_id", _text, primary_key=True), sa.Column("revision", sa.Integer, primary_key=True), sa.Column("column", _text, primary_key=True),
    sa.Column("value", _text, primary_key=True), sa.Column("rows", _int, nullable=False),
)
TABLES = {t.name.removeprefix("ledger_"): t for t in meta.sorted_tables}


def now() -> str:
    """The clock of the ledger (UTC, seconds): when something happened here, never a date of the data."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=8)
def _prepared(engine: sa.Engine) -> sa.Engine:
    catalogue.create(engine, meta)
    _add_columns(engine)
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

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """One atomic change of several tables."""
        with self.engine.begin() as con:
            yield con

    def rows(self, query: sa.Select) -> list[dict[str, Any]]:
        """The rows of a ledger query as dictionaries."""
        with self.engine.connect() as con:
            return [dict(r) for r in con.execute(query).mappings()]

    def batch(self, batch_id: str, revision: int | None = None) -> dict[str, Any] | None:
        """One batch row: of `revision`, or of the latest one."""
        query = sa.select(batches).where(batches.c.batch_id == batch_id).order_by(batches.c.revision.desc())
        if revision is not None:
            query = query.where(batches.c.revision == revision)
        found = self.rows(query.limit(1))
        return found[0] if found else None

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
        with self.engine.begin() as con:
            same = sa.select(batches.c.batch_id).where(
                batches.c.batch_id == row["batch_id"], batches.c.revision == row["revision"])
            if con.execute(same).first():
                return False
            con.execute(batches.insert().values(state="received", received_at=now(), **row))
            con.execute(feedback.update().where(
                feedback.c.batch_id == row["batch_id"], feedback.c.revision < row["revision"], feedback.c.corrected_revision.is_(None)).values(
                corrected_revision=row["revision"]))
        return True

    def add_feedback(self, **row: Any) -> None:
        """Record the pack of one revision of a batch; a later one takes the place of an earlier one."""
        with self.engine.begin() as con:
            same = (feedback.c.batch_id == row["batch_id"]) & (feedback.c.revision == row["revision"])
            found = con.execute(sa.select(feedback).where(same)).mappings().first()
            if found is None:
                con.execute(feedback.insert().values(made_at=now(), **row))
            elif any(found[k] != v for k, v in row.items()):
                con.execute(feedback.update().where(same).values(made_at=now(), **row))

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

    def replace_files(self, batch_id: str, revision: int, found: list[dict[str, Any]]) -> None:
        """Store what was found of each file of one batch, in place of earlier findings."""
        rows = [{k: ", ".join(map(str, v)) if isinstance(v, list) else v for k, v in one.items() if k in files.c} for one in found]
        with self.engine.begin() as con:
            con.execute(files.delete().where(files.c.batch_id == batch_id, files.c.revision == revision))
            if rows:
                con.execute(files.insert(), [{"batch_id": batch_id, "revision": revision, **r} for r in rows])

    def replace_inbox(self, dataset: str, rows: list[dict[str, Any]]) -> None:
        """Store what is left in the inbox of one dataset, in place of what was."""
        with self.engine.begin() as con:
            con.execute(inbox.delete().where(inbox.c.dataset == dataset))
            if rows:
                con.execute(inbox.insert(), rows)

    def replace_results(self, batch_id: str, revision: int, results: list[dict], counts: list[dict], unlisted: list[dict] = ()) -> None:
        """Store the rule results, the counts by region and the codes outside their lists of one batch, in place of earlier ones."""
        with self.engine.begin() as con:
            for table, rows in ((rule_results, results), (rule_counts, counts), (new_values, unlisted)):
                con.execute(table.delete().where(table.c.batch_id == batch_id, table.c.revision == revision))
                if rows:
                    con.execute(table.insert(), [{"batch_id": batch_id, "revision": revision, **r} for r in rows])

    @contextmanager
    def step(self, subject: str, step: str, revision: int | None = None) -> Iterator[dict[str, Any]]:
        """Time one step and record its outcome; what the caller puts into the yielded dict is its detail.

        An exception is recorded by its class only: its text may quote data.
        """
        started, clock, detail = now(), _seconds(), {}
        outcome = "done"
        try:
            yield detail
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            with self.engine.begin() as con:
                con.execute(steps.insert().values(
                    subject=subject, revision=revision, step=step, started_at=started,
                    seconds=round(_seconds() - clock, 3), outcome=outcome,
                    detail=json.dumps(detail, ensure_ascii=False) if detail else None))


def _seconds() -> float:
    import time

    return time.monotonic()
