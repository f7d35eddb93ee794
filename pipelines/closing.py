"""关账: a closed month of a dataset changes no more; the release that shows it is kept for good.

A closing is one ledger row of (dataset, month). From then on `judge` holds every batch of that month, and re-opening
gives those batches back to the gate. The row is written before the release it names, under the dataset's lock, so no
batch slips in between; a `close` that died is finished by running it again.
"""
from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import sqlalchemy as sa

from pipelines import inbox, ledger_tables as tables, release as publication, steps
from pipelines.batch import month as resolve_month
from pipelines.contract import dataset as read_dataset, datasets
from pipelines.desk import Desk
from pipelines.ledger import now
from pipelines.locks import writer
from pipelines.settings import WrongUse
from pipelines.standing import CLOSING, FAILED, PENDING


def close(month: str, dataset_ids: Iterable[str] = (), reason: str = "", anyway: bool = False, desk: Desk | None = None) -> dict[str, Any]:
    """Close a month: publish what is accepted, keep that release, and hold what arrives for the month from now on.

    Args:
        month: `YYYY-MM`, of batch dates.
        dataset_ids: which datasets; none means all but drafts.
        reason: why, for the ledger.
        anyway: also while batches of the month wait, are held or are refused; they stay out.

    Returns:
        {"month", "release_id" (None when all were closed before), "closed": [datasets], "already": [datasets closed before]}.

    Raises:
        WrongUse: no reason, no such month or dataset, or batches of the month are open.
    """
    desk, wanted = desk or Desk.open(), resolve_month(month)
    _need(reason)
    ids = sorted({read_dataset(i, desk.project).id for i in dataset_ids} or {d.id for d in datasets(desk.project) if d.status != "draft"})
    with ExitStack() as locks:
        for dataset_id in ids:
            locks.enter_context(writer(desk.lake, dataset_id))
        already = [i for i in ids if desk.ledger.closing(i, wanted)]
        fresh = [i for i in ids if i not in already]
        if (left := _open_batches(desk, wanted, fresh)) and not anyway:
            raise WrongUse(f"{wanted} is not closed; this is open:\n" + "\n".join(left) + "\nSettle it, or close without it: --anyway.")
        _enter(desk, wanted, fresh, reason)
    return {"month": wanted, "release_id": _publish(desk, wanted, ids), "closed": fresh, "already": already}


def reopen(month: str, dataset_id: str, reason: str = "", desk: Desk | None = None) -> dict[str, Any]:
    """Take a closing back; what it held goes to the gate again with the next `ingest`. Its release stays kept.

    Returns:
        {"month", "dataset", "waiting": [batch keys that the closing held]}.

    Raises:
        WrongUse: no reason, or the month of this dataset is not closed.
    """
    desk, wanted = desk or Desk.open(), resolve_month(month)
    _need(reason)
    found = read_dataset(dataset_id, desk.project)
    b, c = tables.batches, tables.closings
    with writer(desk.lake, found.id):
        closing = desk.ledger.closing(found.id, wanted)
        if closing is None:
            known = [r["month"] for r in desk.ledger.rows(sa.select(c.c.month).where(c.c.dataset == found.id, c.c.reopened_at.is_(None)).order_by(c.c.month))]
            raise WrongUse(f"{wanted} of {found.id} is not closed. Closed months: {', '.join(known) or 'none'}.")
        held = _of_month(found.id, wanted) & (b.c.state == "held") & (b.c.decided_by == CLOSING)
        rows = desk.ledger.rows(sa.select(b).where(held).order_by(b.c.batch_date, b.c.sequence, b.c.batch_id))
        with desk.ledger.transaction() as con:
            con.execute(c.update().where(c.c.id == closing["id"]).values(reopened_at=now(), reopened_reason=reason))
            con.execute(b.update().where(held).values(state="staged", reason=None, decided_at=None, decided_by=None))
    return {"month": wanted, "dataset": found.id, "waiting": [steps.key_of(r["batch_id"], r["revision"]) for r in rows]}


def _open_batches(desk: Desk, month: str, dataset_ids: Iterable[str]) -> list[str]:
    """One line per batch of the month that is not decided for good, and per batch date with files in the inbox."""
    b, lines = tables.batches, []
    for dataset_id in dataset_ids:
        rows = desk.ledger.rows(sa.select(b).where(_of_month(dataset_id, month), b.c.state.in_(PENDING + FAILED)).order_by(b.c.batch_date, b.c.batch_id))
        lines += [f"{r['batch_id']} is {r['state']}" for r in rows if r["revision"] == desk.ledger.batch(r["batch_id"])["revision"]]
        there = inbox.look(desk.lake, read_dataset(dataset_id, desk.project))
        days = {one.batch_date for one in (*there.deliveries, *there.troubles)}
        lines += [f"{dataset_id} has files of {day} in the inbox" for day in sorted(days) if day[:7] == month]
    return lines


def _enter(desk: Desk, month: str, dataset_ids: list[str], reason: str) -> None:
    """Write the closings; what has passed the gate but is not committed yet goes back to it."""
    b = tables.batches
    with desk.ledger.transaction() as con:
        for dataset_id in dataset_ids:
            con.execute(tables.closings.insert().values(dataset=dataset_id, month=month, closed_at=now(), reason=reason))
            con.execute(b.update().where(_of_month(dataset_id, month), b.c.state == "passed").values(state="staged"))


def _publish(desk: Desk, month: str, dataset_ids: list[str]) -> int | None:
    """Publish what is not published, and name the release in the closings of this month that name none yet."""
    c = tables.closings
    unnamed = c.c.dataset.in_(dataset_ids) & (c.c.month == month) & c.c.release_id.is_(None)
    if not desk.ledger.rows(sa.select(c.c.id).where(unnamed)):
        return None
    done = steps.release(desk)
    number = done["release_id"] if done else publication.last(desk.lake)["release_id"]
    with desk.ledger.transaction() as con:
        con.execute(c.update().where(unnamed).values(release_id=number))
    return number


def _of_month(dataset_id: str, month: str) -> sa.ColumnElement[bool]:
    return (tables.batches.c.dataset == dataset_id) & tables.batches.c.batch_date.startswith(month)


def _need(reason: str) -> None:
    if not reason.strip():
        raise WrongUse("Give a reason: --reason TEXT. It stands in the ledger and in governance.closings, so it names no person.")
