"""The gate 质检门: Great Expectations judges a staged batch inside DuckDB; severities and budgets decide.

`judge` reads `staging/<batch>~r<n>/` and writes only reports/gx/<dataset>/. It fails closed: whatever it cannot
read, cannot count or cannot explain holds the batch, each with its own reason; only trouble of the machine leaves it.
`staged` checks the evidence, `suite` runs GX, `verdict` decides, `docs` shows.
"""
from __future__ import annotations

import logging
import sys
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import failures, sql, trouble
from pipelines.gate import docs, staged, suite, verdict
from pipelines.gate.verdict import RuleResult, Verdict
from pipelines.settings import Lake

__all__ = ["RESULTS", "RuleResult", "Verdict", "judge", "judge_some", "newest", "warm"]
RESULTS = 50_000      # of Great Expectations, some 1.5 kB each, in memory at once
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
    return judge_some(lake, [(folder, context, show)])[0]


def judge_some(lake: Lake, staged_batches: Sequence[tuple[Path, dict[str, Any], bool]]) -> list[Verdict]:
    """Accept or hold staged batches, in one run of Great Expectations for all that have the same rules and source.

    Args:
        staged_batches: (folder, context, show) of each, as `judge` takes them.

    Returns:
        The verdict of each, in their order; what is wrong with one leaves the others alone. Raises what `judge` does.
    """
    found: dict[int, Verdict] = {}
    alike: dict[tuple[str, str], list[_Case]] = defaultdict(list)
    with sql.connect() as con:
        if len(staged_batches) > 1:
            con.execute("SET threads = 1")
        cases: list[tuple[_Case, str]] = []
        for place, (folder, context, show) in enumerate(staged_batches):
            batch = verdict.Batch(context["dataset"], context["batch_id"], int(context.get("revision", 1)))
            with _failing_closed(found, place, batch):
                evidence, faults = staged.load(folder)
                if evidence:
                    cases.append((_Case(place, batch, evidence, show), context["source"]))
                else:
                    found[place] = _hold(batch, faults)
        masks: dict[Path, staged.Masks] = {}
        with suppress(Exception):      # what is wrong with one is told of it below
            masks = staged.masks_together((case.evidence for case, _ in cases), con)
        for case, source in cases:
            with _failing_closed(found, case.place, case.batch):
                if faults := staged.faults(case.evidence, con, masks.get(case.evidence.masks)):
                    found[case.place] = _hold(case.batch, faults)
                else:
                    alike[f"{case.batch.dataset}~{source}", case.evidence.told].append(case)
    for (suite_name, _), cases in alike.items():
        found |= _judge(lake, suite_name, cases)
    return [found[place] for place in range(len(staged_batches))]


@dataclass(frozen=True)
class _Case:
    """A batch whose evidence may be judged; `place`: among those that were given."""

    place: int
    batch: verdict.Batch
    evidence: staged.Evidence
    show: bool


@contextmanager
def _failing_closed(found: dict[int, Verdict], place: int, batch: verdict.Batch) -> Iterator[None]:
    """What is raised here holds the batch, unless it is the machine's."""
    try:
        yield
    except Exception as error:
        trouble.let_pass(error)
        log.error("gate: %s", failures.tell(error))
        found[place] = _hold(batch, [f"the gate did not finish: {failures.tell(error)}"])


def newest(batches: Iterable[tuple[str, Any]]) -> set[Any]:
    """Of many (source, batch), in the order in which they are judged, those whose results are kept: as many of a source as there is room for."""
    found: dict[str, list[Any]] = {}
    for source, batch in batches:
        found.setdefault(source, []).append(batch)
    return {batch for many in found.values() for batch in many[-docs.KEEP:]}


def _judge(lake: Lake, suite_name: str, cases: list[_Case]) -> dict[int, Verdict]:
    """The verdicts of batches that have the same rules; where they cannot be judged together, each is judged alone."""
    found: dict[int, Verdict] = {}
    stems = [c.batch.stem.removeprefix(f"{c.batch.dataset}~") for c in cases]
    judged = None
    try:
        judged = suite.run([c.evidence for c in cases], suite_name, stems)
    except Exception:
        if len(cases) == 1:
            with _failing_closed(found, cases[0].place, cases[0].batch):
                raise
    if judged is None or (len(cases) > 1 and any(suite.unfinished(one) for one in judged[1])):
        return found or {place: one for case in cases for place, one in _judge(lake, suite_name, [case]).items()}
    shown = []
    for case, validation in zip(cases, judged[1]):
        with _failing_closed(found, case.place, case.batch):
            found[case.place] = _verdict(case, validation)
            if case.show and found[case.place].sound:
                shown.append((validation, case.evidence))
    if shown:
        docs.publish(lake.reports / "gx" / cases[0].batch.dataset, judged[0], shown)
    return found


def _verdict(case: _Case, validation: Any) -> Verdict:
    """What one validation result says, where it agrees with what staging counted."""
    evidence, batch = case.evidence, case.batch
    counted, faults = suite.counts(validation, evidence)
    results = [verdict.result(r, evidence.counts["rules"][r["rule"]]) for r in evidence.rules]
    faults += [f"{r.rule}: Great Expectations says {'pass' if counted[r.rule][2] else 'fail'}, the gate {r.outcome}"
               for r in results if r.rule in counted and r.applicable and counted[r.rule][2] != (r.outcome == "pass")]
    if all(r.outcome == "not_measured" for r in results):
        faults.append("no rule applied to any row, so nothing was tested")
    if faults:
        return _hold(batch, faults, results)
    reasons = verdict.breaches(results, {r["rule"]: r["on_breach"] for r in evidence.rules}, batch)
    reasons += verdict.loss(evidence.counts, batch)
    reasons += verdict.unlisted(evidence.rules, evidence.counts["new_values"], batch)
    return Verdict("hold" if reasons else "accept", reasons, results)


def _hold(batch: verdict.Batch, faults: list[str], results: list[RuleResult] | None = None) -> Verdict:
    return Verdict("hold", [batch.fault(fault) for fault in faults], results or [], sound=False)
