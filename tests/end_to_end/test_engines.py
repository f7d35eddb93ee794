"""The Iceberg tables are whole for other engines: pyiceberg and Daft count what the ledger counted."""
from __future__ import annotations

import sqlalchemy as sa

from pipelines import base, ledger_tables as tables
from pipelines.contract import datasets


def test_pyiceberg_and_daft_read_every_table_with_equal_counts(run):
    import daft

    t = tables.batches
    for found in datasets(run.desk.project):
        rows = run.desk.ledger.rows(sa.select(t).where(t.c.dataset == found.id, t.c.state == "accepted"))
        want = sum(r["accepted"] + r["deletes"] for r in rows)
        table = base.table(run.desk.lake, run.desk.plan(found.id))
        assert table.scan(selected_fields=("_batch",)).to_arrow().num_rows == want, found.id
        frame = daft.read_iceberg(table)
        assert frame.count_rows() == want, found.id
        key = found.key[0]
        assert frame.where(frame[key].not_null()).count_rows() == want, (found.id, key)
