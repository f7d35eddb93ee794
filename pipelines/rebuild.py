"""Replaying landing under today's contract: how a rule, a type or a code list changes for what is already accepted.

`rebuild` replays every batch of a dataset or none; `replay`, for a range (backfill), lets a batch that would not pass
today keep its accepted version. Either way one commit exchanges all partitions: readers see the old rows or the new.
"""
from __future__ import annotations

import secrets
import shutil
from typing import Any

import sqlalchemy as sa

from pipelines import approvals, base, durable, gate, landing, ledger_tables as tables, objects, pages, problems, staged_batches, staging, waivers
from pipelines.committing import derive, quarantine_file, tidy
from pipelines.compiler import Plan
from pipelines.desk import Desk
from pipelines.feedback import tickets
from pipelines.judging import record_results
from pipelines.locks import writer
from pipelines.settings import WrongUse
from pipelines.standing import FOLDING

Replayed = dict[str, tuple[int, staged_batches.Staged, gate.Verdict]]
Troubles = dict[str, list[str]]


def rebuild(dataset_id: str, desk: Desk | None = None) -> dict[str, int]:
    """Replay the accepted batches under today's contract into new partitions and swap them in at once.

    Raises:
        WrongUse: nothing is accepted yet, or a batch that is accepted would be refused or held under today's contract;
            then nothing is changed.
    """
    desk = desk or Desk.open()
    plan, t = desk.plan(dataset_id), tables.batches
    with writer(desk.lake, dataset_id), desk.ledger.step(dataset_id, "rebuild") as detail:
        rows = desk.ledger.rows(sa.select(t).where(t.c.dataset == dataset_id, t.c.state == "accepted"))
        if not rows:
            raise WrongUse(f"{dataset_id} has no accepted batch to replay.")
        replay(desk, plan, rows, whole=True)
        desk.ledger.unfold(dataset_id, FOLDING)
        detail["batches"] = len(rows)
        state = derive(desk, plan)
    return {"batches": len(rows), "current_rows": state.facts["rows"]}


def replay(desk: Desk, plan: Plan, rows: list[dict[str, Any]], whole: bool = False) -> Troubles:
    """Bring accepted batches to today's contract. The caller holds the dataset's lock.

    Args:
        rows: their ledger rows.
        whole: one batch that does not pass stops them all.

    Returns:
        batch_id → why it would be refused or held today; these keep their accepted version.

    Raises:
        WrongUse: `whole`, or a changed type, and a batch does not pass; or a changed type and not all batches are given.
            Then nothing is changed.
    """
    replacement = base.Replacement(desk.lake, plan, [row["batch_id"] for row in rows])
    if not whole and (early := [row["batch_id"] for row in rows if row["batch_date"] < replacement.before]):
        raise WrongUse(f"{plan.dataset.id}: {len(early)} of {len(rows)} batches are dated before {replacement.before} and folded, the first is {early[0]}. "
                       f"Replay all: python -m pipelines rebuild {plan.dataset.id}")
    replayed, troubles = _stage_all(desk, plan, rows, replacement.field_ids)
    if troubles and (whole or replacement.retyped):
        for _, found, _ in replayed.values():
            shutil.rmtree(found.folder)
        raise WrongUse(f"{plan.dataset.id} is not rebuilt; under today's contract these batches do not pass:\n" +
                       "\n".join(reason for reasons in troubles.values() for reason in reasons))
    if replayed:
        _swap(desk, plan, replacement, replayed)
        derive(desk, plan)
        tidy(desk, plan)
        problems.note(desk, plan.dataset.id)
        pages.write(desk, plan.dataset, [(b, revision) for b, (revision, _, _) in replayed.items()])
    return troubles


def _stage_all(desk: Desk, plan: Plan, rows: list[dict[str, Any]], ids: dict[str, int]) -> tuple[Replayed, Troubles]:
    """Stage and judge every batch anew: those that pass, and why the others do not."""
    replayed, troubles, covers = {}, {}, waivers.Covers(desk.ledger, plan.dataset.id)
    with staging.engine(desk.lake, desk.project, plan) as con:
        for row in rows:
            batch_id, revision = row["batch_id"], row["revision"]
            manifest = landing.read_manifest(landing.folder(desk.lake, batch_id, revision))
            try:
                found = staging.stage(con, desk.lake, plan, plan.dataset.source(manifest.source), manifest, ids, covers.of(row))
            except WrongUse as error:
                troubles[batch_id] = [str(error)]
                continue
            verdict = gate.judge(desk.lake, found.folder, row)
            if verdict.outcome == "accept" or (verdict.sound and approvals.released(desk.ledger, batch_id, revision)):
                replayed[batch_id] = (revision, found, verdict)
            else:
                troubles[batch_id] = verdict.reasons
                shutil.rmtree(found.folder)
    return replayed, troubles


def _swap(desk: Desk, plan: Plan, replacement: base.Replacement, replayed: Replayed) -> None:
    for batch_id, (revision, found, _) in replayed.items():
        kept = quarantine_file(desk.lake, batch_id, revision)
        shutil.copyfile(found.folder / "quarantine.parquet", kept.with_suffix(".part"))
        durable.replace(kept.with_suffix(".part"), kept)
        objects.replace(desk.lake, desk.ledger, [kept])
        tickets.refresh(desk, batch_id, revision, found.folder)
    # The mark is new each time: replaying under an unchanged contract must not touch the files that readers use.
    replacement.commit({b: (revision, found.folder) for b, (revision, found, _) in replayed.items()}, secrets.token_hex(4))
    stamp, covers = desk.stamp(plan.dataset), waivers.Covers(desk.ledger, plan.dataset.id)
    for batch_id, (revision, found, verdict) in replayed.items():
        desk.ledger.replace_files({(batch_id, revision): found.counts["units"]})
        score, = record_results(desk, {(batch_id, revision): (verdict, found)})
        counts = {k: v for k, v in found.counts.items() if k in tables.batches.c}
        desk.ledger.update_batch(batch_id, revision, score=score, **counts, **stamp, waivers_hash=covers.of(desk.ledger.batch(batch_id, revision)).hash)
        shutil.rmtree(found.folder)
