"""Rules that read other datasets, judged on the release candidate by Great Expectations inside DuckDB.

A rule is one bit of masks like those of a staged batch, so the same suite judges it. Results stand per (rule, source,
as_of), as_of being the newest batch date among the datasets it reads and its own. Nothing is judged twice for the same versions.
`block` stops the release; `warn` reports. No rule here changes what is accepted.
"""
from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

from pipelines import failures, gate, trouble
from pipelines.checks import results
from pipelines.checks.candidate import Candidate
from pipelines.compiler import Plan
from pipelines.gate import docs, staged, suite
from pipelines.proof import prove_across
from pipelines.rules import Rule
from pipelines.settings import WrongUse
from pipelines.sql import name, text

KIND = "across"
log = logging.getLogger(__name__)


class ReleaseStopped(WrongUse):
    """Rules of severity block do not hold on the release candidate; the message lists them."""


def judge(found: Candidate, plan: Plan) -> results.Findings | None:
    """Judge the rules of one dataset that read others; None when that was done for these versions, or there is nothing to judge.

    Raises:
        WrongUse: a rule's examples do not come out as declared.
        ReleaseStopped: a rule that can stop a release could not be judged.
    """
    d = plan.dataset
    if not plan.across or d.id not in found.states:
        return None
    read = sorted({d.id, *(r for rule in plan.across for r in rule.reads)})
    as_of = max(filter(None, map(found.as_of, read)))
    state = results.state(as_of, [(r, found.version(r)) for r in read], [repr(rule) for rule in plan.across])
    if results.judged(results.known(found.desk.ledger, d.id, KIND, as_of=as_of)) == {state}:
        return None
    prove_across(found.con, plan, found.plans)
    try:
        counted = _counts(found, plan, as_of)
    except Exception as error:
        trouble.let_pass(error)
        if any(rule.severity == "block" for rule in plan.across):
            raise ReleaseStopped(f"{d.id}: rules that read other datasets could not be judged: {failures.tell(error)} The release is stopped; the "
                                 "one before stays. Mend the rule in expectations/, then run: python -m pipelines release") from None
        log.error("%s: rules that read other datasets could not be judged: %s", d.id, failures.tell(error))
        return None
    return _findings(plan, as_of, counted, state)


def _findings(plan: Plan, as_of: str, counted: dict[tuple[str, str], dict[str, tuple[int, int]]], state: str) -> results.Findings:
    made = results.Findings(plan.dataset.id, KIND)
    for rule in plan.across:
        check = results.Check(rule.rule, KIND, rule.zh, rule.en, rule.indicator, rule.at_least, rule.severity, reason=rule.reason)
        for source in plan.dataset.sources:
            made.add(check, source.source, rule.owner, as_of, counted.get((rule.rule, source.source), {}),
                     {"judged": state, "reads": list(rule.reads)})
    return made


def _counts(found: Candidate, plan: Plan, as_of: str) -> dict[tuple[str, str], dict[str, tuple[int, int]]]:
    """(rule, source) → region → (applicable, failed), as Great Expectations and DuckDB agree on."""
    with tempfile.TemporaryDirectory(prefix="across-", dir=_made(found.scratch)) as work:
        masks = Path(work) / "masks.parquet"
        found.con.execute(f"COPY ({_masks(found, plan, as_of)}) TO {text(masks)} (FORMAT parquet)")
        sums = ", ".join(f"count(*) FILTER (_{kind}_0 & {1 << bit} <> 0)" for bit in range(len(plan.across)) for kind in ("applied", "failed"))
        rows = found.con.execute(f"SELECT source, region, count(*), {sums} FROM read_parquet({text(masks)}) GROUP BY ALL ORDER BY ALL").fetchall()
        counted: dict[tuple[str, str], dict[str, tuple[int, int]]] = {}
        for source, region, _, *numbers in rows:
            for rule, pair in zip(plan.across, zip(numbers[::2], numbers[1::2])):
                counted.setdefault((rule.rule, source), {})[region] = pair
        _validate(found, plan, as_of, masks, sum(row[2] for row in rows), counted)
    return counted


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _masks(found: Candidate, plan: Plan, as_of: str) -> str:
    """One row per row of the dataset: its source, its region, and the masks of the rules."""
    own = f"SELECT *, DATE {text(as_of)} AS _as_of FROM {plan.dataset.id}"
    bits = ", ".join(f"{_applies(found, rule)} AS a{i}, coalesce(({rule.holds}), false) AS h{i}" for i, rule in enumerate(plan.across))
    region = f"coalesce(own.{name(plan.dataset.region)}, '')" if plan.dataset.region else "''"
    applied = " + ".join(f"a{i}::BIGINT * {1 << i}" for i in range(len(plan.across)))
    failed = " + ".join(f"(a{i} AND NOT h{i})::BIGINT * {1 << i}" for i in range(len(plan.across)))
    return (f"SELECT source, region, ({applied})::BIGINT AS _applied_0, ({failed})::BIGINT AS _failed_0, 0::BIGINT AS _repaired_0 "
            f"FROM (SELECT own._source AS source, {region} AS region, {bits} FROM ({own}) own)")


def _applies(found: Candidate, rule: Rule) -> str:
    """A rule applies to nothing while a dataset it reads holds nothing: an empty register would blame every record."""
    return f"coalesce(({rule.when or 'true'}), false)" if all(r in found.states for r in rule.reads) else "false"


def _validate(found: Candidate, plan: Plan, as_of: str, masks: Path, records: int, counted: dict) -> None:
    """Let Great Expectations judge the same masks, and keep its result among those of the dataset's batches.

    Raises:
        WrongUse: it did not finish, or counts otherwise.
    """
    if not records:
        return
    total = {rule.rule: {"applicable": 0, "failed": 0, "repaired": 0} for rule in plan.across}
    for (rule, _), regions in counted.items():
        for applicable, failed in regions.values():
            total[rule]["applicable"] += applicable
            total[rule]["failed"] += failed
    planned = [_public(rule, bit) for bit, rule in enumerate(plan.across)]
    evidence = staged.Evidence(planned, {"records": records, "rules": total}, masks)
    made, [validation] = suite.run([evidence], f"{plan.dataset.id}~{KIND}", [f"{KIND}~{as_of}"])
    _, faults = suite.counts(validation, evidence)
    if faults:
        raise WrongUse("; ".join(faults))
    docs.publish(found.desk.lake.reports / "gx" / plan.dataset.id, made, [(validation, evidence)])


def _public(rule: Rule, bit: int) -> dict[str, Any]:
    keys = ("rule", "zh", "en", "severity", "at_least", "indicator", "owner")
    return {key: getattr(rule, key) for key in keys} | {"mask": 0, "bit": bit}


def stop_release(rows: list[dict[str, Any]]) -> None:
    """Stop when a rule that may stop a release fails.

    Args:
        rows: the newest results of every such rule.

    Raises:
        ReleaseStopped: one message per rule and source: counts, threshold, what to do.
    """
    broken = [r for r in rows if r["severity"] == "block" and r["outcome"] == "fail"]
    if broken:
        raise ReleaseStopped("\n".join(
            f"{r['dataset']} from {r['source']}: {gate.verdict.share(r['failed'], r['applicable'])} fail {r['rule']} ({r['zh']}), at least "
            f"{gate.verdict.percent(r['at_least'])} must hold. The release is stopped; the one before stays. {r['owner']} corrects the records, or the "
            "threshold is changed in expectations/; then run: python -m pipelines release" for r in broken))
