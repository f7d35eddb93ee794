"""Staged batches before the gate, and what it says of each into the ledger."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines import base, gate, ledger_tables as tables, new_values, pages, region_counts, reports, scores, staged_batches
from pipelines.batch import Key, key_of
from pipelines.compiler import Plan
from pipelines.desk import Desk
from pipelines.feedback import tickets
from pipelines.ledger import now
from pipelines.locks import writer
from pipelines.standing import CLOSING, FOLDING, UNSOUND

Judged = tuple[dict[str, Any], staged_batches.Staged, gate.Verdict]      # a batch's row, what was staged of it, what the gate says


def judge_some(desk: Desk, plan: Plan, keys: list[Key], shown: set[str]) -> dict[Key, bool]:
    """Judge staged batches; tells of each whether it has passed, now or before. What was staged anew meanwhile is left to who did it."""
    rows = {key: row for key, (row,) in desk.ledger.of(tables.batches, keys).items()}
    found = {key: staged for key in keys if rows[key]["state"] == "staged" and (staged := staged_batches.read(desk.lake, *key))}
    marks = {key: staged_batches.mark(one) for key, one in found.items()}
    if not found:
        return {key: rows[key]["state"] == "passed" for key in keys}
    with desk.ledger.steps(found, "judge") as details:
        verdicts = dict(zip(found, gate.judge_some(desk.lake, [(one.folder, rows[key], key_of(*key) in shown) for key, one in found.items()])))
        for key, verdict in verdicts.items():
            details[key] |= {"outcome": verdict.outcome, "rules": len(verdict.results)}
    with writer(desk.lake, plan.dataset.id):
        rows = {key: row for key, (row,) in desk.ledger.of(tables.batches, keys).items()}
        fresh = {key: (rows[key], one, verdicts[key]) for key, one in found.items() if rows[key]["state"] == "staged" and staged_batches.mark(one) == marks[key]}
        passed = _enter_verdicts(desk, plan, fresh)
    # One that has passed gets its page when it is accepted, which is next; what an earlier verdict wrote must not stand that long.
    shown_now = [key for key, (row, _, _) in fresh.items() if not passed[key] or reports.batch_page(desk.lake, row).exists()]
    if shown_now:
        pages.write(desk, plan.dataset, shown_now)
    return {key: passed[key] if key in fresh else rows[key]["state"] == "passed" for key in keys}


def _enter_verdicts(desk: Desk, plan: Plan, judged: dict[Key, Judged]) -> dict[Key, bool]:
    """Say in the ledger what became of judged batches. The caller holds the dataset's lock."""
    if not judged:
        return {}
    before, values = base.state(desk.lake, plan).before, {}
    months = {row["batch_date"][:7] for row, _, _ in judged.values()}
    closings = {month: desk.ledger.closing(plan.dataset.id, month) for month in months}
    scored = record_results(desk, {key: (verdict, found) for key, (_, found, verdict) in judged.items()})
    for (key, (row, _, verdict)), score in zip(judged.items(), scored):
        closing, folded = closings[row["batch_date"][:7]], row["batch_date"] < before
        reasons = [*verdict.reasons, *([_closed(row, closing)] if closing else []), *([_folded(row, before)] if folded else [])]
        passed = verdict.outcome == "accept" and not closing and not folded
        values[key] = {"state": "passed" if passed else "held", "reason": "\n".join(reasons) or None, "code": None if verdict.sound else UNSOUND, "score": score,
                       "decided_at": now(), "decided_by": CLOSING if closing else FOLDING if folded else "gate"}
    held = {key: changed for key, changed in values.items() if changed["state"] == "held"}
    desk.ledger.update_batches({key: changed for key, changed in values.items() if key not in held})
    tickets.enter(desk, {key: judged[key][1].folder for key in held})
    desk.ledger.update_batches(held)
    return {key: key not in held for key in values}


def _closed(row: dict[str, Any], closing: dict[str, Any]) -> str:
    """Why a closed month holds a batch, and the two ways on."""
    dataset_id, month = row["dataset"], closing["month"]
    return (f"{row['batch_id']} r{row['revision']}: {month} of {dataset_id} is closed since {closing['closed_at']}. Batch held. To change {month}: "
            f"python -m pipelines reopen {month} {dataset_id} --reason TEXT, then python -m pipelines ingest {dataset_id}. To count it in the "
            "next month, the department sends it again under a batch date of that month.")


def _folded(row: dict[str, Any], before: str) -> str:
    """Why a baseline holds a batch, and the way on."""
    dataset_id = row["dataset"]
    return (f"{row['batch_id']} r{row['revision']}: batches of {dataset_id} dated before {before} are folded. Batch held. To add it: "
            f"python -m pipelines rebuild {dataset_id}, which unfolds them, then python -m pipelines ingest {dataset_id}.")


def record_results(desk: Desk, judged: Mapping[Key, tuple[gate.Verdict, staged_batches.Staged]]) -> list[float | None]:
    """Enter what the gate found of batches in the ledger; returns the score of each."""
    results = {key: [{k: v for k, v in vars(r).items() if k in tables.rule_results.c} for r in verdict.results] for key, (verdict, _) in judged.items()}
    desk.ledger.replace_results({key: (results[key], [{"counts": region_counts.text_of(found.counts["regions"])}], new_values.entries(found.counts))
                                 for key, (_, found) in judged.items()})
    return [scores.dataset(results[key], found.counts) for key, (_, found) in judged.items()]
