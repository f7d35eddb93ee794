"""Were decisions sent in the working days that the rules on publication allow (0502)? From the decision's date to the first batch that has it.

For datasets whose expectations file has an entry `published`. Results stand per (source, batch date of the first sending) and count records. What a stream
sent in its first batch, and what was folded into a baseline, is not measured. Days off are those of `pipelines.deadlines`.
"""
from __future__ import annotations

from pathlib import Path

from pipelines import base, deadlines
from pipelines.checks import results
from pipelines.checks.candidate import Candidate
from pipelines.compiler import Plan
from pipelines.governance import arrow
from pipelines.rules import published
from pipelines.segments import BASELINE
from pipelines.sql import name, texts

KIND, RULE = "publication", "published_in_time"
SQL = Path(__file__).with_name("publication.sql")
AT_LEAST = 0.98


def judge(found: Candidate, plan: Plan) -> results.Findings | None:
    """How long after its decision each record was first sent; None where nothing is declared, or nothing changed since the last time."""
    d, ledger = plan.dataset, found.desk.ledger
    asked = published(d, found.desk.project)
    if asked is None or d.id not in found.states:
        return None
    limit, days_off = deadlines.limit(found.desk.project, asked["deadline"]), deadlines.calendar(found.desk.project)
    segments = base.state(found.desk.lake, plan).segments
    mark = results.state(asked, limit, days_off, SQL.read_text("utf-8"), sorted((s, v.batches) for s, v in segments.items()))
    if results.judged(results.known(ledger, d.id, KIND)) == {mark}:
        return None
    departments, made = {s.source: s.department for s in d.sources}, results.Findings(d.id, KIND)
    check = results.Check(RULE, KIND, f"{d.column(asked['after']).zh}后{limit}个工作日内报送", f"sent within {limit} working days of {asked['after']}", "0502",
                          asked.get("at_least", AT_LEAST), column=asked["after"], reason=asked["reason"])
    for (source, sent), (regions, longest) in _counted(found, plan, asked["after"], limit, days_off).items():
        made.add(check, source, departments.get(source, d.sources[0].department), sent, regions, {"judged": mark, "limit": limit, "longest": longest, "days": "working"})
    return made


def _counted(found: Candidate, plan: Plan, after: str, limit: int, days_off: dict[str, bool]) -> dict[tuple[str, str], tuple[dict[str, tuple[int, int]], int]]:
    """(source, batch date) → counts by region, and the longest time in working days."""
    folded: dict[bool, list[str]] = {True: [], False: []}
    for segment, version in base.state(found.desk.lake, plan).segments.items():
        folded[segment.startswith(BASELINE)] += version.files
    region = name(plan.dataset.region) if plan.dataset.region else "NULL::VARCHAR"
    versions = " UNION ALL ".join(
        f"SELECT _key, split_part(_batch, '~', 2) AS source, split_part(_batch, '~', 3) AS part, split_part(_batch, '~', 4)::DATE AS sent, {name(after)} AS day, "
        f"{region} AS region, {str(old).lower()} AS folded FROM read_parquet({texts(files)}, union_by_name = true) WHERE _op = 'U'"
        for old, files in folded.items() if files)
    if not versions:
        return {}
    con = found.con
    con.execute(f"CREATE OR REPLACE TEMP VIEW version AS {versions}; SET VARIABLE days = {int(limit)}")
    con.register("exception", arrow([{"day": day, "is_workday": worked} for day, worked in sorted(days_off.items())], "day, is_workday:BOOLEAN"))
    counted: dict[tuple[str, str], tuple[dict[str, tuple[int, int]], int]] = {}
    for source, sent, where, applicable, failed, longest in con.execute(SQL.read_text("utf-8")).fetchall():
        regions, before = counted.get((source, sent), ({}, 0))
        counted[source, sent] = regions | {where: (applicable, failed)}, max(before, longest)
    con.unregister("exception")
    return counted
