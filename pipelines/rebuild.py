"""Replaying landing under today's contract: how a rule, a type or a mask changes for what is already accepted."""
from __future__ import annotations

import shutil

import sqlalchemy as sa

from pipelines import base, gate, landing, ledger as tables, readers, scores, staging
from pipelines.compiler import Plan
from pipelines.locks import writer
from pipelines.settings import WrongUse
from pipelines.steps import Desk, derive, quarantine_file


def rebuild(dataset_id: str, desk: Desk | None = None) -> dict[str, int]:
    """Replay landing under today's contract into new partitions and swap them in at once.

    Raises:
        WrongUse: a batch that is accepted today would be refused or held under today's contract; nothing is changed.
    """
    desk = desk or Desk.open()
    plan, t = desk.plan(dataset_id), tables.batches
    rows = desk.ledger.rows(sa.select(t).where(t.c.dataset == dataset_id, t.c.state == "accepted"))
    stamp, staged, troubles = desk.stamp(plan.dataset), {}, []
    with writer(desk.lake, dataset_id), desk.ledger.step(dataset_id, "rebuild") as detail, \
            staging.engine(desk.lake, desk.project, plan) as con:
        ids = {f.name: f.field_id for f in base.table(desk.lake, plan, retype=True).schema().fields}
        for row in rows:
            batch_id, revision = row["batch_id"], row["revision"]
            manifest = landing.read_manifest(landing.folder(desk.lake, batch_id, revision))
            try:
                found = staging.stage(con, desk.lake, plan, plan.dataset.source(manifest.source), manifest, ids)
                verdict = gate.judge(desk.lake, found.folder, {k: row[k] for k in ("dataset", "source", "part", "batch_date", "batch_id", "revision")})
            except (readers.ReadRefused, WrongUse) as error:
                troubles.append(str(error))
                continue
            troubles += verdict.reasons if verdict.outcome != "accept" else []
            staged[batch_id] = (revision, found, verdict)
        if troubles:
            raise WrongUse(f"{dataset_id} is not rebuilt; under today's contract these batches do not pass:\n" + "\n".join(troubles))
        _swap(desk, plan, staged, stamp)
        detail["batches"] = len(staged)
        state = derive(desk, plan)
        base.sweep(desk.lake, plan)
    return {"batches": len(staged), "current_rows": state.facts["rows"]}


def _swap(desk: Desk, plan: Plan, staged: dict[str, tuple], stamp: dict[str, str]) -> None:
    for batch_id, (revision, found, _) in staged.items():
        kept = quarantine_file(desk.lake, batch_id, revision)
        shutil.copyfile(found.folder / "quarantine.parquet", kept)
    base.replace_all(desk.lake, plan, {b: (r, s.folder) for b, (r, s, _) in staged.items()}, stamp["contract_hash"][:8])
    for batch_id, (revision, found, verdict) in staged.items():
        results = [{k: v for k, v in vars(r).items() if k in tables.rule_results.c} for r in verdict.results]
        desk.ledger.replace_results(batch_id, revision, results, found.counts["regions"])
        counts = {k: v for k, v in found.counts.items() if k in tables.batches.c}
        desk.ledger.update_batch(batch_id, revision, score=scores.dataset(results, found.counts), **counts, **stamp)
        shutil.rmtree(found.folder)
