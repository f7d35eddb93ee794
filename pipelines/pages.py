"""From the ledger to the pages of batches. All other pages are made by `pipelines.site.build`."""
from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from pipelines import ledger_tables as tables, new_values, problems, reports
from pipelines.contract import Dataset, datasets
from pipelines.desk import Desk
from pipelines.locks import writer
from pipelines.site import rendering

AT_ONCE = 100      # batches whose results are in memory at once


def write(desk: Desk, found: Dataset, batches: Iterable[tuple[str, int]]) -> None:
    """Write the pages of these (batch_id, revision)."""
    if not (listed := list(dict.fromkeys(batches))):
        return
    for at in range(0, len(listed), AT_ONCE):
        keys = listed[at:at + AT_ONCE]
        rows, results, files, decided = (desk.ledger.of(t, keys) for t in (tables.batches, tables.rule_results, tables.files, tables.approvals))
        regions = desk.ledger.failing_regions(keys)
        unlisted = new_values.of_batches(desk, found, keys)
        for key in keys:
            row, = rows[key]
            decisions = [{k: one[k] for k in ("decision", "reason", "decided_at")} for one in decided[key]]
            reports.write_batch_report(desk.lake, {**row, "name": found.name, "department": problems.department_of(found, row["source"])},
                                       results[key], regions[key], files[key], unlisted[key], decisions)
    with writer(desk.lake, "reports"):
        rendering.put_assets(desk.lake.reports)


def write_all(desk: Desk) -> None:
    """Write the pages of all judged batches anew, in today's look."""
    t = tables.batches
    for found in datasets(desk.project):
        rows = desk.ledger.rows(sa.select(t.c.batch_id, t.c.revision, t.c.source).where(t.c.dataset == found.id, t.c.decided_at.is_not(None)))
        known = {s.source for s in found.sources}
        write(desk, found, [(r["batch_id"], r["revision"]) for r in rows if r["source"] in known])
