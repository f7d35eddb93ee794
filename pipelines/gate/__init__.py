"""The gate 质检门: Great Expectations judges a staged batch inside DuckDB; severities and budgets decide.

`judge` reads `staging/<batch>~r<n>/` and writes only reports/gx/<dataset>/. It fails closed: whatever it cannot
read, cannot count or cannot explain holds the batch, each with its own reason; only trouble of the machine leaves it.
`staged` checks the evidence, `suite` runs GX, `verdict` decides, `docs` shows.
"""
from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipelines import failures, sql, trouble
from pipelines.gate import docs, staged, suite, verdict
from pipelines.gate.verdict import RuleResult, Verdict
from pipelines.settings import Lake

__all__ = ["RuleResult", "Verdict", "judge", "newest", "warm"]
log = logging.getLogger(__name__)


def warm() -> None:
    """Import Great Expectations beside other work: it takes seconds, of which reading and hashing files leave room."""
    if "great_expectations" not in sys.modules:
        threading.Thread(target=suite.great_expectations, name="import", daemon=True).start()


def judge(lake: Lake, folder: Path, context: dict[str, Any], show: bool = True) -> Verdict:
    """Accept or hold a staged batch.

    Args:
        lake: the lake whose reports/ gets suite, result and Data Docs.
        folder: the staged batch: plan.json, counts.json, masks.parquet.
        context: dataset, source, batch_id, revision.
        show: write result and Data Docs; `newest` tells for which of many batches.

    Returns:
        The verdict; its reasons are complete sentences with counts and no values.

    Raises:
        Exception: the machine failed (`trouble.of`), not the batch; judging it again is the remedy.
    """
    batch = verdict.Batch(context["dataset"], context["batch_id"], int(context.get("revision", 1)))
    try:
        return _judge(lake, folder, batch, f"{batch.dataset}~{context['source']}", show)
    except Exception as error:
        trouble.let_pass(error)
        log.error("gate: %s", failures.tell(error))
        return _hold(batch, [f"the gate did not finish: {failures.tell(error)}"])


def newest(batches: Iterable[tuple[str, Any]]) -> set[Any]:
    """Of many (source, batch), in the order in which they are judged, those whose results are kept: as many of a source as there is room for."""
    found: dict[str, list[Any]] = {}
    for source, batch in batches:
        found.setdefault(source, []).append(batch)
    return {batch for many in found.values() for batch in many[-docs.KEEP:]}


def _judge(lake: Lake, folder: Path, batch: verdict.Batch, suite_name: str, show: bool) -> Verdict:
    evidence, faults = staged.load(folder)
    if evidence:
        with sql.connect() as con:
            faults = staged.faults(evidence, con)
    if faults:
        return _hold(batch, faults)
    made, validation = suite.run(evidence, suite_name, batch.stem.removeprefix(f"{batch.dataset}~"))
    counted, faults = suite.counts(validation, evidence)
    results = [verdict.result(r, evidence.counts["rules"][r["rule"]]) for r in evidence.rules]
    faults += [f"{r.rule}: Great Expectations says {'pass' if counted[r.rule][2] else 'fail'}, the gate {r.outcome}"
               for r in results if r.rule in counted and r.applicable and counted[r.rule][2] != (r.outcome == "pass")]
    if all(r.outcome == "not_measured" for r in results):
        faults.append("no rule applied to any row, so nothing was tested")
    if faults:
        return _hold(batch, faults, results)
    if show:
        docs.publish(lake.reports / "gx" / batch.dataset, made, validation, evidence)
    reasons = verdict.breaches(results, {r["rule"]: r["on_breach"] for r in evidence.rules}, batch)
    reasons += verdict.loss(evidence.counts, batch)
    reasons += verdict.unlisted(evidence.rules, evidence.counts["new_values"], batch)
    return Verdict("hold" if reasons else "accept", reasons, results)


def _hold(batch: verdict.Batch, faults: list[str], results: list[RuleResult] | None = None) -> Verdict:
    return Verdict("hold", [batch.fault(fault) for fault in faults], results or [], sound=False)
