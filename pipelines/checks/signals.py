"""Leads of made-up data (编造数据): never a verdict. Each says what was seen, what is usual, over how many rows, and another explanation.

Looked for in the batches that one source sent for one date, in the order of their rows, once, after they were accepted. The
statistics are SQL (signals.sql); what is compared are windows of rows within the same submission. Base keeps rows in that order, so that a table
of numbers made of them, in the same order, tells a row's place by its rowid: nothing is sorted.
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import duckdb
import sqlalchemy as sa

from pipelines import ledger_tables as tables
from pipelines.checks.candidate import Candidate
from pipelines.checks.profiles import Accepted
from pipelines.compiler import Plan
from pipelines.sql import name, text, texts

FEWEST, SURE = 200, 1e-6
# Rows that do not lie behind their predecessor.
_UNORDERED = """
SELECT count(*) FROM (SELECT *, lag(batch) OVER () AS b, lag(_file) OVER () AS f, lag(_ordinal) OVER () AS o FROM placed)
WHERE batch < b OR (batch = b AND (_file < f OR (_file = f AND _ordinal < o)))"""


@dataclass(frozen=True)
class Signal:
    """One kind of lead: the statistic in signals.sql, the semantic types it looks at, how `{v}` of such a column enters it."""

    signal: str
    statistic: str
    types: tuple[str, ...]
    value: str
    zh: str
    en: str
    otherwise_zh: str
    otherwise_en: str


_NUMBERS = ("money", "integer", "decimal")
# The number at the end; what is nothing but a number needs no pattern.
_TRAILING = ("CASE WHEN strlen({v}) < 16 AND try_cast({v} AS UBIGINT)::VARCHAR = {v} THEN {v}::BIGINT "
             "ELSE try_cast(right(regexp_extract({v}, '([0-9]+)[^0-9]*$', 1), 15) AS BIGINT) END")
_ALIKE = "CASE WHEN {v} IS NOT NULL THEN hash({v}) END"      # all that is asked of such a value is whether it is the same
SIGNALS = (
    Signal("repeated_number", "modal_share", ("phone", "mobile"), _ALIKE, "连续的记录用同一电话", "one telephone number in row after row",
           "代办机构统一填写自己的电话", "an agent filled in his own number"),
    Signal("identical_text", "modal_share", ("text", "narrative", "address", "name_list"), _ALIKE, "连续的记录文字相同", "the same words in row after row",
           "模板文书，或文件按该字段排序", "a template, or a file sorted by this column"),
    Signal("equal_amounts", "modal_share", _NUMBERS, _ALIKE, "连续的记录数值相同", "the same number in row after row", "定额标准（如统一罚款、基础养老金）", "a fixed rate"),
    Signal("one_day", "modal_share", ("date", "end_date"), _ALIKE, "连续的记录日期相同", "the same date in row after row", "集中办理，或文件按日期排序", "a day of mass handling, or a file sorted by date"),
    Signal("consecutive_ids", "consecutive", ("resident_id", "document_number"),
           "CASE WHEN strlen({v}) = 18 THEN try_cast(left({v}, 17) AS BIGINT) END", "连续的记录身份号码顺序号连续", "identity numbers in sequence, row after row",
           "文件按号码排序且为同日同地登记（如收养机构）", "a file sorted by number, of people registered on one day at one place"),
    Signal("consecutive_numbers", "consecutive", ("opaque_id", "document_no"), _TRAILING, "连续的记录编号连续，而同一文件其他记录不连续",
           "numbers in sequence, row after row, where the others of the file are not", "编号由系统在报送时生成", "numbers given out by the system that exports"),
    Signal("consecutive_numbers", "consecutive", ("reg_no",), "try_cast(left({v}, length({v}) - 1) AS BIGINT)", "连续的记录注册号连续，而同一文件其他记录不连续",
           "licence numbers in sequence, row after row, where the others of the file are not", "同日集中登记（如个体户转企业）", "a day of mass registration"),
    Signal("round_amounts", "share_true", _NUMBERS, "{v} > 0 AND {v} % 100 = 0", "连续的记录数值以00结尾", "numbers ending in 00, row after row", "按百元取整的标准", "a rate in round hundreds"),
    Signal("heaped_ages", "share_true", ("resident_id",), "(year(DATE {as_of}) - try_cast(substr({v}, 7, 4) AS INTEGER)) % 5 = 0", "连续的记录年龄以0、5结尾",
           "ages ending in 0 or 5, row after row", "按整岁资格办理（如60岁、80岁补贴）", "a benefit given at a round age"),
    Signal("last_digits", "last_digits", _NUMBERS, "floor(abs({v}))", "末位数字分布不均", "last digits are not spread evenly", "取整习惯或计价单位", "a habit of rounding, or a unit of pricing"),
    Signal("benford", "benford", ("money",), "{v}", "首位数字不符合本福特定律", "first digits do not follow Benford's law", "金额有上下限或固定档次", "amounts have limits or steps"),
    Signal("equal_units", "equal_units", ("division_code",), _ALIKE, "各村、各单位记录数几乎相同", "villages have nearly the same number of records", "按名额分配的项目", "a programme with quotas"),
)


@dataclass(frozen=True)
class Leads:
    """What was found in the batches that one source sent for one date; no rows where nothing was."""

    dataset: str
    source: str
    as_of: str
    rows: list[dict[str, Any]]


def judge(found: Candidate, plan: Plan, accepted: list[Accepted]) -> list[Leads]:
    """Look at the given batches, which are all of their sources and dates."""
    groups: dict[tuple[str, str], list[Accepted]] = {}
    for one in accepted:
        groups.setdefault((one.batch.source, one.batch.batch_date), []).append(one)
    return [Leads(plan.dataset.id, source, day, list(look(found.con, plan, sorted(batches, key=lambda a: str(a.batch)), day)))
            for (source, day), batches in sorted(groups.items())]


def enter(con: sa.Connection, several: list[Leads]) -> None:
    """Enter leads in place of earlier ones of the same source and date."""
    t = tables.signals
    if several:
        con.execute(t.delete().where(t.c.dataset == sa.bindparam("d"), t.c.source == sa.bindparam("s"), t.c.as_of == sa.bindparam("day")),
                    [{"d": one.dataset, "s": one.source, "day": one.as_of} for one in several])
    if rows := [{"dataset": one.dataset, "source": one.source, "as_of": one.as_of} | row for one in several for row in one.rows]:
        con.execute(t.insert(), rows)


def look(con: duckdb.DuckDBPyConnection, plan: Plan, batches: list[Accepted], as_of: str) -> list[dict[str, Any]]:
    """The leads in some batches, at most one per signal and column: the strongest.

    Args:
        con: has the macros of statistics.sql and signals.sql.
        as_of: the batch date, at which ages are told.
    """
    if sum(a.rows for a in batches) < FEWEST:
        return []
    files = f"read_parquet({texts(f for a in batches for f in a.files)}, union_by_name = true)"
    held = {c for c, *_ in con.execute(f"DESCRIBE FROM {files}").fetchall()}
    looked = [(c.name, signal) for c in plan.dataset.columns if c.name in held for signal in SIGNALS if plan.type(c.name).name in signal.types]
    if not looked:
        return []
    values = ", ".join(f"({signal.value.format(v=name(column), as_of=text(as_of))}) AS v{i}" for i, (column, signal) in enumerate(looked))
    sent = f"enum_code(_batch::ENUM({texts(str(a.batch) for a in batches)[1:-1]}))"
    con.execute(f"CREATE OR REPLACE TEMP TABLE placed AS SELECT {sent} AS batch, _file, _ordinal, {values} FROM {files} WHERE _op = 'U'")
    try:
        if con.execute("SELECT count(*) FROM placed").fetchone()[0] < FEWEST:
            return []
        if con.execute(_UNORDERED).fetchone()[0]:      # of files written before rows lay in the order of submission
            con.execute("CREATE OR REPLACE TEMP TABLE placed AS FROM placed ORDER BY batch, _file, _ordinal")
        return [row for i, (column, signal) in enumerate(looked) for row in _strongest(con, i, column, signal, batches)]
    finally:
        con.execute("DROP TABLE placed")


def _strongest(con: duckdb.DuckDBPyConnection, number: int, column: str, signal: Signal, batches: list[Accepted]) -> list[dict[str, Any]]:
    con.execute(f"CREATE OR REPLACE TEMP VIEW seen AS SELECT rowid AS place, v{number} AS v FROM placed")
    hits = con.execute(f"SELECT value, peers, n, first, last, everywhere, p FROM {signal.statistic}() WHERE p < {SURE} ORDER BY p, value DESC, first").fetchall()
    if not hits:
        return []
    value, peers, n, first, last, everywhere, p = hits[0]
    ends = con.execute("SELECT batch, _file, _ordinal FROM placed WHERE rowid IN ($1, $2) ORDER BY rowid", [first, last]).fetchall() if last else []
    addresses = [f"{batches[b].batch}~r{batches[b].revision}#{file}:{ordinal}" for b, file, ordinal in ends]
    evidence = {"from": addresses[0], "to": addresses[-1], "windows": len(hits), "rows_alike": everywhere} if addresses else {"rows": everywhere}
    return [{"signal": signal.signal, "column": column, "value": round(value, 4), "peers": None if peers is None else round(peers, 4), "n": n,
             "p": max(min(p, 1.0), 0.0), "evidence": json.dumps(evidence, ensure_ascii=False),
             "explanation": f"{signal.zh}。线索，非结论；也可能是：{signal.otherwise_zh} — {signal.en}. A lead, no verdict; it may also be: {signal.otherwise_en}"}]
