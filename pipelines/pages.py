"""From the ledger to the pages of the quality officer: one page per batch, one index over the latest of every stream."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from pipelines import ledger as tables, reports
from pipelines.batch import BatchId
from pipelines.contract import Dataset, datasets
from pipelines.desk import Desk
from pipelines.locks import writer


def write(desk: Desk, found: Dataset, batches: Iterable[tuple[str, int]]) -> None:
    """Write the pages of these (batch_id, revision) and the index anew."""
    for batch_id, revision in batches:
        row = desk.ledger.batch(batch_id, revision)
        results, counts, files = (desk.ledger.rows(sa.select(t).where(t.c.batch_id == batch_id, t.c.revision == revision))
                                  for t in (tables.rule_results, tables.rule_counts, tables.files))
        sender = found.source(row["source"])
        reports.write_batch_report(desk.lake, {**row, "name": found.name, "department": sender.department}, results, counts, files)
    with writer(desk.lake, "reports"):
        reports.write_index(desk.lake, _index(desk))


def _index(desk: Desk) -> list[dict[str, Any]]:
    t, r = tables.batches, tables.rule_results
    rows = desk.ledger.rows(sa.select(t).where(t.c.state != "superseded").order_by(t.c.batch_date, t.c.sequence, t.c.revision))
    failing = sa.func.sum(sa.case((r.c.outcome == "fail", 1), else_=0))
    query = sa.select(r.c.batch_id, r.c.revision, sa.func.count().label("rules"), failing.label("failing")).group_by(r.c.batch_id, r.c.revision)
    judged = {(j["batch_id"], j["revision"]): j for j in desk.ledger.rows(query)}
    latest = {BatchId.parse(row["batch_id"]).stream: row for row in rows}
    found = []
    for dataset in datasets(desk.project):
        mine = [row for (name, _, _), row in sorted(latest.items()) if name == dataset.id]
        found += [{**row, **judged.get((row["batch_id"], row["revision"]), {}), "name": dataset.name,
                   "department": dataset.source(row["source"]).department} for row in mine]
        if not mine:
            found.append({"dataset": dataset.id, "name": dataset.name, "department": dataset.sources[0].department})
    return found
