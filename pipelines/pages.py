"""From the ledger to the pages of batches. All other pages are made by `pipelines.site.build`."""
from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from pipelines import ledger_tables as tables, new_values, reports
from pipelines.contract import Dataset, datasets
from pipelines.desk import Desk
from pipelines.locks import writer
from pipelines.site import rendering


def write(desk: Desk, found: Dataset, batches: Iterable[tuple[str, int]]) -> None:
    """Write the pages of these (batch_id, revision)."""
    for batch_id, revision in batches:
        row = desk.ledger.batch(batch_id, revision)
        results, counts, files = (desk.ledger.rows(sa.select(t).where(t.c.batch_id == batch_id, t.c.revision == revision))
                                  for t in (tables.rule_results, tables.rule_counts, tables.files))
        sender, a = found.source(row["source"]), tables.approvals
        decisions = desk.ledger.rows(sa.select(a.c.decision, a.c.reason, a.c.decided_at).where(
            a.c.batch_id == batch_id, a.c.revision == revision).order_by(a.c.id))
        reports.write_batch_report(desk.lake, {**row, "name": found.name, "department": sender.department}, results, counts, files,
                                   new_values.of_batch(desk, batch_id, revision), decisions)
    with writer(desk.lake, "reports"):
        rendering.put_assets(desk.lake.reports)


def write_all(desk: Desk) -> None:
    """Write the pages of all judged batches anew, in today's look."""
    t = tables.batches
    for found in datasets(desk.project):
        rows = desk.ledger.rows(sa.select(t.c.batch_id, t.c.revision, t.c.source).where(t.c.dataset == found.id, t.c.decided_at.is_not(None)))
        known = {s.source for s in found.sources}
        write(desk, found, [(r["batch_id"], r["revision"]) for r in rows if r["source"] in known])
