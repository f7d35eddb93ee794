"""Is the dataset what its contract says it is? The indicators of GB/T 36344-2018 that no row shows: 0102, 0103, 0106, 0601.

Columns sent against columns agreed (0102, of the newest accepted batch of every source), columns with a full catalogue item (0103), columns that
are graded and published only as their grade allows (0106), and whether the published view answers a query (0601, of the release shown now).
"""
from __future__ import annotations

from typing import Any

import duckdb
import sqlalchemy as sa

from pipelines import ledger_tables as tables, mapping, masks
from pipelines.checks import results
from pipelines.checks.candidate import Candidate
from pipelines.compiler import Plan
from pipelines.sql import name

KIND = "conformity"
_MODEL = results.Check("columns_as_agreed", KIND, "报送字段与契约一致：不缺、不多", "the columns sent are those of the contract, none missing, none more", "0102", 0.95,
                       reason="缺少的字段无法核对，多出的字段没有目录和分级（政务数据共享条例第十二、十三条）")
_METADATA = results.Check("columns_are_catalogued", KIND, "字段有完整的目录信息", "every column has a full catalogue item", "0103",
                          reason="政务数据共享条例第十三条：目录要素齐全")
_SAFETY = results.Check("columns_are_masked_as_graded", KIND, "字段按分级脱敏发布", "every column is published as its grade allows", "0106",
                        reason="数据安全法第二十一条：分类分级保护")
_ANSWERS = results.Check("view_answers", KIND, "发布视图可以查询", "the published view answers a query", "0601", reason="不能打开的视图等于没有发布")


def judge(found: Candidate, plan: Plan) -> results.Findings | None:
    """The four measurements of one dataset; None while it holds nothing, or when they are what they were."""
    d, as_of = plan.dataset, found.as_of(plan.dataset.id)
    if as_of is None:
        return None
    made = results.Findings(d.id, KIND)
    for source in d.sources:
        sent = _newest_files(found, d.id, source.source)
        if sent:
            agreed = len(mapping.spellings(d, source))
            absent, unread = ({part for f in sent for part in (f[key] or "").split(", ") if part} for key in ("absent", "unread"))
            made.add(_MODEL, source.source, source.department, as_of, {"": (agreed + len(unread), len(absent) + len(unread))},
                     {"absent": sorted(absent), "unread": len(unread)} if absent or unread else None)
    first = d.sources[0]
    lacking = sorted(c.name for c in d.columns if not (c.zh and c.en and c.type and c.classification))
    shown = {c.name for c in masks.published(plan)}
    exposed = masks.exposed(plan, shown)
    for check, bad in ((_METADATA, lacking), (_SAFETY, exposed)):
        made.add(check, first.source, first.department, as_of, {"": (len(d.columns), len(bad))}, {"columns": bad} if bad else None)
    answer = _answers(found, d.id)
    if answer is not None:
        made.add(_ANSWERS, first.source, first.department, as_of, {"": (1, int(not answer))})
    before = {(r["rule"], r["source"]): r | {"checked_at": None} for r in results.known(found.desk.ledger, d.id, KIND, as_of=as_of)}
    return None if before == {(r["rule"], r["source"]): r | {"checked_at": None} for r in made.rows} else made


def _newest_files(found: Candidate, dataset: str, source: str) -> list[dict[str, Any]]:
    """How the files of a source's newest accepted batch were read."""
    b, f, ledger = tables.batches, tables.files, found.desk.ledger
    newest = sa.select(b.c.batch_id, b.c.revision).where(b.c.dataset == dataset, b.c.source == source, b.c.state == "accepted").order_by(
        b.c.batch_date.desc(), b.c.sequence.desc(), b.c.batch_id, b.c.revision.desc()).limit(1).subquery()
    return ledger.rows(sa.select(f.c.absent, f.c.unread).join(newest, (f.c.batch_id == newest.c.batch_id) & (f.c.revision == newest.c.revision)))


def _answers(found: Candidate, dataset: str) -> bool | None:
    """Does the view of the release shown now answer? None before the first release, or while it does not have the dataset."""
    schema, _, view = dataset.partition(".")
    if found.shown is None or not found.shown.execute("SELECT count(*) FROM duckdb_views() WHERE schema_name = ? AND view_name = ?", [schema, view]).fetchone()[0]:
        return None
    try:
        found.shown.execute(f"SELECT * FROM {name(schema)}.{name(view)} LIMIT 1").fetchall()
    except duckdb.Error:
        return False
    return True
