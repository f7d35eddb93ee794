"""维护: what keeps a lake small: old batches folded, snapshots expired, orphans removed, the ledger in step with the disk.

Everything here can be repeated and can die at any instant. Of each dataset it holds the writer's lock, and over all the
lock `release`, so that no release is about to pin what goes. What a kept release stands on stays.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipelines import base, current, folding, grants, objects, published, release as publication, steps, withdrawal
from pipelines.batch import batch_date
from pipelines.committing import deriving
from pipelines.compiler import Plan
from pipelines.contract import dataset as read_dataset, datasets
from pipelines.desk import Desk
from pipelines.locks import writer


def maintain(dataset_ids: Iterable[str] = (), before: str | None = None, desk: Desk | None = None) -> list[dict[str, Any]]:
    """Fold, expire and sweep datasets.

    Args:
        dataset_ids: which; none means all but drafts.
        before: fold the batches dated before this day (YYYY-MM-DD), instead of by LAKE_FOLD_DAYS.

    Returns:
        Per dataset {"dataset", "folded" (batches), "rows_before", "rows", "snapshots", "parts" (of current rows made one), "files", "bytes" (removed)}.

    Raises:
        WrongUse: no such dataset or date, or another process writes.
    """
    desk = desk or Desk.open()
    day = batch_date(before) if before else None
    wanted = [read_dataset(i, desk.project) for i in dataset_ids] or [d for d in datasets(desk.project) if d.status != "draft"]
    with writer(desk.lake, "release"):
        done = [_maintain_one(desk, found.id, day) for found in wanted]
        grants.sweep(desk)
        objects.enter(desk.lake, desk.ledger, desk.lake.releases)
        objects.forget(desk.lake, desk.ledger, [p for root in ("base", "current", "quarantine", "releases") for p in objects.gone(desk.lake, desk.ledger, root)])
    return done


def _maintain_one(desk: Desk, dataset_id: str, before: str | None) -> dict[str, Any]:
    plan, lake = desk.plan(dataset_id), desk.lake
    with writer(lake, dataset_id), desk.ledger.step(dataset_id, "maintain") as detail:
        before = before or folding.retention_day(base.state(lake, plan))
        folded = folding.fold(lake, plan, before) if before else None
        pinned = publication.pinned(lake, dataset_id)
        weights = {p: p.stat().st_size for p in (lake.base / dataset_id).rglob("*") if p.is_file()}
        with writer(lake, deriving(dataset_id)):      # its snapshot may be the one that goes
            snapshots = base.expire(lake, plan, pinned)
        parts = _fold_parts(desk, plan)
        steps.tidy(desk, plan, releasing=True)
        removed = [size for path, size in weights.items() if not path.exists()]
        done = {"folded": folded["batches"] if folded else 0, "rows_before": folded["rows_before"] if folded else 0,
                "rows": folded["rows"] if folded else 0, "snapshots": snapshots, "parts": parts, "files": len(removed), "bytes": sum(removed)}
        detail |= done
    return {"dataset": dataset_id} | done


def _fold_parts(desk: Desk, plan: Plan) -> int:
    """Where deltas have become many or much, make one part of what is current, and of what is published of it, for the next release to show; returns how many it was.

    The published files first: a state that is one part and was never published would be written whole by a release.
    """
    state = steps.derive(desk, plan)
    if not current.heavy(state):
        return 0
    engine = published.Engine(desk.lake, desk.project, withdrawal.withdrawn(desk.ledger))
    try:
        published.fold(engine, plan, state)
    finally:
        engine.close()
    steps.derive(desk, plan, whole=True)
    return len(state.chain)
