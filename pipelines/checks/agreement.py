"""Do sources of one dataset give one key the same values (0401), and does one key stand in one part (0304)?

The counts are made where `current` is derived (`current._overlaps`); here they become results. A disagreement is laid at the
door of the source with the lower authority, whose values `current` does not take.
"""
from __future__ import annotations

import pyarrow.parquet as pq

from pipelines.checks import results
from pipelines.checks.candidate import Candidate
from pipelines.compiler import Plan
from pipelines.sql import text

KIND = "agreement"
AGREES, ONE_PART, ONE_IDENTITY = "agrees", "one_part", "one_identity"
AT_LEAST = {AGREES: 0.98, ONE_PART: 0.999, ONE_IDENTITY: 1.0}
_WHY = {AGREES: "同一对象的同一属性在各部门应一致；不一致时采用权威来源，差异由另一方核对",
        ONE_PART: "一个公民只能在一个地方登记为常住人口（户口登记条例第六条）；跨地迁移未销旧户时两地各有一条",
        ONE_IDENTITY: "一个号码对应两个人：至少一处号码错误"}


def judge(found: Candidate, plan: Plan) -> results.Findings | None:
    """What the overlaps of one dataset amount to; None when there are none or they are entered already."""
    d = plan.dataset
    state = found.states.get(d.id)
    if state is None or not state.overlaps.exists():
        return None
    as_of, mark = state.facts["as_of"], results.state(state.facts["version"], AT_LEAST)
    entered = results.known(found.desk.ledger, d.id, KIND)
    if results.judged(r for r in entered if r["as_of"] == as_of) == {mark} or not (entered or pq.read_metadata(state.overlaps).num_rows):
        return None
    rows = found.con.execute(f"SELECT rule, \"column\", source, other, region, applicable, failed FROM read_parquet({text(state.overlaps)})").fetchall()
    grouped: dict[tuple[str, ...], dict[str, tuple[int, int]]] = {}
    for rule, column, source, other, region, applicable, failed in rows:
        grouped.setdefault((rule, column or "", source, other or ""), {})[region] = (applicable, failed)
    made = results.Findings(d.id, KIND)
    departments = {s.source: s.department for s in d.sources}
    for (rule, column, source, other), regions in sorted(grouped.items()):
        owner = departments.get(source, d.sources[0].department)
        made.add(_check(plan, rule, column, other, departments), source, owner, as_of, regions, {"judged": mark} | ({"other": other} if other else {}))
    return made


def _check(plan: Plan, rule: str, column: str, other: str, departments: dict[str, str]) -> results.Check:
    keys = "、".join(plan.dataset.column(k).zh for k in plan.dataset.key)
    common = {"kind": KIND, "at_least": AT_LEAST[rule], "reason": _WHY[rule]}
    if rule == AGREES:
        return results.Check(
            rule=f"{column}.agrees_with_{other}", zh=f"{plan.dataset.column(column).zh}与{departments.get(other, other)}报送的一致",
            en=f"{column} agrees with what {other} reports", indicator="0401", column=column, **common)
    if rule == ONE_PART:
        return results.Check(rule=f"key.{ONE_PART}", zh=f"同一{keys}只在一个报送分区中", en=f"one {', '.join(plan.dataset.key)} stands in one part",
                             indicator="0304", **common)
    same = "、".join(plan.dataset.column(i).zh for i in plan.dataset.identity)
    return results.Check(rule=f"key.{ONE_IDENTITY}", zh=f"各报送分区中同一{keys}的{same or '记录'}一致",
                         en=f"one {', '.join(plan.dataset.key)} is one in all parts ({', '.join(plan.dataset.identity)})", indicator="0304", **common)
