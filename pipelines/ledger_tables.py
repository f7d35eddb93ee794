"""The ledger's tables; see `pipelines.ledger` for what they mean.

Rows hold ids, counts, rule ids and times; never a value, a file name or a person. A new column is added to the tables of an older lake.
"""
from __future__ import annotations

import sqlalchemy as sa

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
region_counts = sa.Table(
    "ledger_region_counts", meta,
    sa.Column("batch_id", _text, primary_key=True), sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("counts", _text, nullable=False),      # by region and rule, as `pipelines.region_counts` packs them
)
releases = sa.Table(
    "ledger_releases", meta,
    sa.Column("release_id", sa.Integer, primary_key=True), sa.Column("created_at", _text, nullable=False),
    sa.Column("state", _text, nullable=False), sa.Column("reason", _text), sa.Column("manifest_hash", _text),
    sa.Column("left_at", _text),      # when another release took its place in lake.duckdb; empty for the one shown
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
grants = sa.Table(
    "ledger_grants", meta,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True), sa.Column("role", _text, nullable=False), sa.Column("datasets", _text, nullable=False),
    sa.Column("columns", _text, nullable=False), sa.Column("rows", _text), sa.Column("purpose", _text, nullable=False), sa.Column("request", _text, nullable=False),
    sa.Column("reader_group", _text), sa.Column("granted_by", _text, nullable=False), sa.Column("granted_at", _text, nullable=False),
    sa.Column("expires_on", _text, nullable=False), sa.Column("revoked_at", _text), sa.Column("reason", _text), sa.Column("key_id", _text),
)
exports = sa.Table(
    "ledger_exports", meta,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True), sa.Column("exported_at", _text, nullable=False), sa.Column("exported_by", _text, nullable=False),
    sa.Column("purpose", _text, nullable=False), sa.Column("form", _text, nullable=False), sa.Column("rows", _int, nullable=False), sa.Column("views", _text),
    sa.Column("columns", _text), sa.Column("release_id", sa.Integer),
)
TABLES = {t.name.removeprefix("ledger_"): t for t in meta.sorted_tables}
