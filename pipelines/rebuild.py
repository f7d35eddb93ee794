"""Replaying landing under today's contract: how a rule, a type or a code list changes for what is already accepted."""
from __future__ import annotations

import secrets
import shutil
from typing import Any

import sqlalchemy as sa

from pipelines import base, gate, landing, ledger as tables, pages, readers, staging
from pipelines.compiler import Plan
from pipelines.locks import writer
from pipelines.settings import WrongUse
from pipelines.steps import Desk, derive, quarantine_file, record_results

Replayed = dict[str, tuple[int, staging.Staged, gate.Verdict]]


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
        replacement = base.Replacement(desk.lake, plan)
        replayed, troubles = _replay(desk, plan, rows, replacement.field_ids)
        if troubles:
            for _, found, _ in replayed.values():
                shutil.rmtree(found.folder)
            raise WrongUse(f"{dataset_id} is not rebuilt; under today's contract these batches do not pass:\n" + "\n".join(troubles))
        _swap(desk, plan, replacement, replayed)
        detail["batches"] = len(replayed)
        state = derive(desk, plan)
        base.sweep(desk.lake, plan)
        pages.write(desk, plan.dataset, [(b, revision) for b, (revision, _, _) in replayed.items()])
    return {"batches": len(replayed), "current_rows": state.facts["rows"]}


def _replay(desk: Desk, plan: Plan, rows: list[dict[str, Any]], ids: dict[str, int]) -> tuple[Replayed, list[str]]:
    """Stage and judge every batch anew; also why some do not pass."""
    replayed, troubles = {}, []
    with staging.engine(desk.lake, desk.project, plan) as con:
        for row in rows:
            batch_id, revision = row["batch_id"], row["revision"]
            manifest = landing.read_manifest(landing.folder(desk.lake, batch_id, revision))
            try:
                found = staging.stage(con, desk.lake, plan, plan.dataset.source(manifest.source), manifest, ids)
            except (readers.ReadRefused, WrongUse) as error:
                troubles.append(str(error))
                continue
            verdict = gate.judge(desk.lake, found.folder, row)
            troubles += verdict.reasons if verdict.outcome != "accept" else []
            replayed[batch_id] = (revision, found, verdict)
    return replayed, troubles


def _swap(desk: Desk, plan: Plan, replacement: base.Replacement, replayed: Replayed) -> None:
    for batch_id, (revision, found, _) in replayed.items():
        shutil.copyfile(found.folder / "quarantine.parquet", quarantine_file(desk.lake, batch_id, revision))
    # The mark is new each time: replaying under an unchanged contract must not touch the files that readers use.
    replacement.commit({b: (revision, found.folder) for b, (revision, found, _) in replayed.items()}, secrets.token_hex(4))
    stamp = desk.stamp(plan.dataset)
    for batch_id, (revision, found, verdict) in replayed.items():
        score = record_results(desk, batch_id, revision, verdict, found)
        counts = {k: v for k, v in found.counts.items() if k in tables.batches.c}
        desk.ledger.update_batch(batch_id, revision, score=score, **counts, **stamp)
        shutil.rmtree(found.folder)
