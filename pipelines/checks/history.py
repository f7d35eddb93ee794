"""A batch against the batches of its stream that are dated before it: volume, filled cells, codes, repairs (history.sql).

All accepted batches are compared anew whenever one is added: order of arrival leaves no trace. Results stand per
(rule, source, batch date) and count parts: `failed` of `applicable` parts differ. They report; nothing is held because of them.
Limits: the entry `history` of the dataset's expectations file; without it, `rules.HISTORY` and `rules.VOLUME`.
"""
from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa

from pipelines import ledger_tables as tables
from pipelines.checks import results
from pipelines.checks.candidate import Candidate
from pipelines.compiler import Plan
from pipelines.rules import history as limits_of

KIND, VALUES = "history", "values"
SQL = Path(__file__).with_name("history.sql")
LIMITS = ("batches", "volume_low", "volume_high", "filled_drop", "shift", "repaired_rise")
SHOWN = 10
_COLUMNS = {
    "batch": "batch_id, source, part, batch_date, sequence:BIGINT, records:BIGINT, repaired:BIGINT",
    "profile": "batch_id, column, records:BIGINT, filled:BIGINT", "profile_value": "batch_id, column, value, rows:BIGINT"}
# reason → (zh, en, indicator, lowest share of parts or rows, why)
_WORDS = {
    "volume": ("报送量与以往批次的中位数相近", "the volume is near the median of earlier batches", "0202", 1.0, "骤减多为漏报、截断，骤增多为重复或范围改变"),
    "repaired": ("自动修复的记录比例不高于以往", "the share of repaired records is not above that of earlier batches", "0305", 1.0, "突增多为报送系统改版"),
    "filled": ("{zh}的填报率不低于以往", "{column} is filled in as often as in earlier batches", "0201", 1.0, "突降多为接口漏传字段"),
    "distribution": ("{zh}的代码分布与以往相近", "the codes of {column} are distributed as in earlier batches", "0301", 1.0, "突变多为代码映射改变或批量误填"),
    "seen_before": ("{zh}没有首次出现的代码", "{column} has no code that was never sent before", "0105", 0.999, "新值监控：首次出现的代码可能是错录，也可能是业务变化"),
}


def judge(found: Candidate, plan: Plan) -> list[results.Findings] | None:
    """Compare every accepted batch of one dataset with those before it; None when nothing changed since the last time."""
    ledger, limits = found.desk.ledger, limits_of(plan.dataset, found.desk.project)
    t = tables.batches
    batches = ledger.rows(sa.select(t).where(t.c.dataset == plan.dataset.id, t.c.state == "accepted").order_by(t.c.batch_id))
    mark = results.state(limits, _WORDS, SQL.read_text("utf-8"), sorted((b["batch_id"], b["revision"], b["records"]) for b in batches))
    known = results.known(ledger, plan.dataset.id, KIND, VALUES)
    if results.judged(known) == {mark} or not batches:
        return None
    if max(Counter((b["source"], b["part"]) for b in batches).values()) <= limits["batches"]:      # no batch has enough before it
        return _findings(plan, [], limits, mark) if known else None
    profiles, values = (_of(batches, ledger.rows(sa.select(table).where(table.c.batch_id.startswith(f"{plan.dataset.id}~", autoescape=True))))
                        for table in (tables.profiles, tables.profile_values))
    rows = compare(found.con, {"batch": batches, "profile": profiles, "profile_value": values}, limits)
    return _findings(plan, rows, limits, mark)


def _of(batches: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that belong to the revision in force."""
    held = {(b["batch_id"], b["revision"]) for b in batches}
    return [r for r in rows if (r["batch_id"], r["revision"]) in held]


def compare(con: duckdb.DuckDBPyConnection, given: dict[str, list[dict[str, Any]]], limits: dict[str, Any]) -> list[dict[str, Any]]:
    """Run history.sql; returns its findings with source, part and batch date.

    Args:
        con: has the macros of statistics.sql.
        given: rows of batch, profile and profile_value.
        limits: the keys `LIMITS`.
    """
    from pipelines.governance import arrow

    for table, declared in _COLUMNS.items():
        con.register(table, arrow(given[table], declared))
    for key in LIMITS:
        con.execute(f"SET VARIABLE {key} = {float(limits[key])}")
    con.execute(SQL.read_text("utf-8"))
    found = con.execute("SELECT f.*, source, part, batch_date FROM finding f JOIN batch USING (batch_id) ORDER BY ALL")
    rows = [dict(zip([d[0] for d in found.description], row)) for row in found.fetchall()]
    for table in _COLUMNS:
        con.unregister(table)
    return rows


def _findings(plan: Plan, rows: list[dict[str, Any]], limits: dict[str, Any], mark: str) -> list[results.Findings]:
    made = {kind: results.Findings(plan.dataset.id, kind) for kind in (KIND, VALUES)}
    grouped: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault((row["reason"], row["column"] or "", row["source"], row["batch_date"]), []).append(row)
    departments = {s.source: s.department for s in plan.dataset.sources}
    for (reason, column, source, day), parts in sorted(grouped.items()):
        check = _check(plan, reason, column, limits)
        regions: dict[str, tuple[int, int]] = {}
        for row in parts:      # a part may send twice on a day
            region = row["part"] if row["part"].isdigit() and len(row["part"]) == 6 else ""
            applicable, failed = regions.get(region, (0, 0))
            regions[region] = applicable + row["applicable"], failed + row["failed"]
        made[check.kind].add(check, source, departments.get(source, plan.dataset.sources[0].department), day, regions, _detail(parts, mark))
    return list(made.values())


def _check(plan: Plan, reason: str, column: str, limits: dict[str, Any]) -> results.Check:
    zh, en, indicator, at_least, why = _WORDS[reason]
    zh_column = next((c.zh for c in plan.dataset.columns if c.name == column), column)
    rule = f"{column or 'batch'}.{reason}" if reason == "seen_before" else f"{column or 'batch'}.{reason}_as_before"
    return results.Check(rule=rule, kind=VALUES if reason == "seen_before" else KIND, zh=zh.format(zh=zh_column), en=en.format(column=column),
                         indicator=indicator, at_least=at_least, column=column or None, reason=limits["reason"] or why)


def _detail(parts: list[dict[str, Any]], mark: str) -> dict[str, Any]:
    """The parts that differ most: what they have, what was usual, over how many rows."""
    wrong = sorted((r for r in parts if r["failed"]), key=lambda r: -r["failed"])
    shown = [{k: _rounded(r[k]) for k in ("part", "value", "baseline", "n", "p", "values") if r[k] is not None} for r in wrong[:SHOWN]]
    return {"judged": mark, "differ": shown} | ({"more": len(wrong) - SHOWN} if len(wrong) > SHOWN else {})


def _rounded(value: Any) -> Any:
    return json.loads(f"{value:.6g}") if isinstance(value, float) else value
