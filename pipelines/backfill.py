"""Bringing a range of batch dates to today's contract, oldest first; nothing outside the range is touched.

What is accepted is replayed in one swap; then what the inbox holds, what waits and what was held or refused goes
through the ordinary steps. Every part can be repeated: a backfill that died is finished by running it again.
"""
from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from pipelines import ledger_tables as tables, steps, waivers
from pipelines.batch import batch_date
from pipelines.compiler import Plan
from pipelines.desk import Desk
from pipelines.locks import writer
from pipelines.rebuild import replay
from pipelines.settings import WrongUse
from pipelines.standing import FAILED, PENDING

TROUBLES = ("kept", *FAILED)


def backfill(dataset_id: str, first: str, last: str, desk: Desk | None = None) -> dict[str, Any]:
    """Take in, judge again and replay every batch of a range of batch dates.

    Args:
        first: the earliest batch date.
        last: the latest batch date, included.

    Returns:
        {"batches": [{batch_date, batch_id, revision, outcome, reason}], oldest first, "left": why files of the range must
        stay in the inbox, "current_rows"}. Outcome: accepted, held, refused (taken in or judged again); replayed,
        unchanged (under today's contract already), kept (would not pass today, or its month is closed: the accepted
        version stays).

    Raises:
        WrongUse: no such dataset or date, or a changed type needs batches outside the range.
    """
    desk, span = desk or Desk.open(), (batch_date(first), batch_date(last))
    if span[0] > span[1]:
        raise WrongUse(f"--from {span[0]} is after --to {span[1]}.")
    plan = desk.plan(dataset_id)
    with writer(desk.lake, dataset_id), desk.ledger.step(dataset_id, "backfill") as detail:
        done = _replay(desk, plan, span)
        _look_again(desk, dataset_id, span)
        detail |= {"from": span[0], "to": span[1], "batches": len(done)}
    keys = _ingest(desk, plan, span)
    done += [_told(desk.ledger.batch(*steps.split_key(key))) for key in keys]
    with writer(desk.lake, dataset_id):
        state = steps.derive(desk, plan)
    return {"batches": sorted(done, key=lambda b: (b["batch_date"], b["batch_id"], b["revision"])),
            "left": [message for day, message in steps.notice(dataset_id, desk)["left"] if span[0] <= day <= span[1]],
            "current_rows": state.facts["rows"]}


def _batches(desk: Desk, dataset_id: str, span: tuple[str, str], states: tuple[str, ...]) -> list[dict[str, Any]]:
    t = tables.batches
    return desk.ledger.rows(sa.select(t).where(t.c.dataset == dataset_id, t.c.batch_date.between(*span), t.c.state.in_(states))
                            .order_by(t.c.batch_date, t.c.sequence, t.c.batch_id, t.c.revision))


def _told(row: dict[str, Any], outcome: str | None = None, reason: str | None = None) -> dict[str, Any]:
    return {k: row[k] for k in ("batch_date", "batch_id", "revision")} | {"outcome": outcome or row["state"], "reason": reason or row["reason"]}


def _replay(desk: Desk, plan: Plan, span: tuple[str, str]) -> list[dict[str, Any]]:
    """Replay the accepted batches that were judged under something else than today's contract, waivers, lists, program or key."""
    stamp, covers, done, old = desk.stamp(plan.dataset), waivers.Covers(desk.ledger, plan.dataset.id), [], []
    for row in _batches(desk, plan.dataset.id, span, ("accepted",)):
        closing = desk.ledger.closing(plan.dataset.id, row["batch_date"][:7])
        if all(row[k] == v for k, v in (stamp | {"waivers_hash": covers.of(row).hash}).items()):
            done.append(_told(row, "unchanged"))
        elif closing:
            done.append(_told(row, "kept", f"{closing['month']} is closed since {closing['closed_at']}. To replay its batches: python -m pipelines "
                                           f"reopen {closing['month']} {plan.dataset.id} --reason TEXT"))
        else:
            old.append(row)
    troubles = replay(desk, plan, old) if old else {}
    return done + [_told(row, "kept", "\n".join(troubles[row["batch_id"]])) if row["batch_id"] in troubles else _told(row, "replayed") for row in old]


def _look_again(desk: Desk, dataset_id: str, span: tuple[str, str]) -> None:
    """Let the steps take up what was held or refused, also under an unchanged contract."""
    for row in _batches(desk, dataset_id, span, FAILED):
        desk.ledger.update_batch(row["batch_id"], row["revision"], state="received", reason=None, code=None)


def _ingest(desk: Desk, plan: Plan, span: tuple[str, str]) -> list[str]:
    days = {row["batch_date"] for row in _batches(desk, plan.dataset.id, span, PENDING)}
    days |= {day for day in steps.inbox_dates(desk, plan.dataset) if span[0] <= day <= span[1]}
    keys = [key for day in sorted(days) for key in steps.receive(plan.dataset.id, day, desk)]
    passed = steps.judge(plan.dataset.id, steps.stage(plan.dataset.id, keys, desk), desk)
    if passed:
        steps.commit(plan.dataset.id, passed, desk)
    return keys
