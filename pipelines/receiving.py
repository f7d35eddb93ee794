"""Inbox to landing to ledger: what `steps.receive`, `submit` and `notice` do. Nothing in the inbox stops the rest of it.

A delivery is copied into landing, entered in the ledger, and only then removed from the inbox; a kill between any two of
these is mended by doing it again, because the same bytes are the same batch. What stays in the inbox is in the ledger.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines import inbox, incoming, landing, ledger_tables as tables, objects
from pipelines.batch import TOGETHER, BatchId
from pipelines.contract import Dataset, Source
from pipelines.copying import NotTaken
from pipelines.deliveries import Delivery, Trouble, trouble
from pipelines.desk import Desk
from pipelines.feedback import returns
from pipelines.ledger import now
from pipelines.locks import writer
from pipelines.settings import WrongUse

UNSETTLED = "unsettled"
_TRIED = ("sha256", "unreadable", "correction", "part", "ticket", "refused")     # what only taking a delivery can tell


def submit(desk: Desk, found: Dataset, sender: Source, files: list[Path], batch_date: str, only_packs: bool = False,
           **options: Any) -> list[landing.Received]:
    """Copy files into landing and enter them in the ledger; the caller holds the lock `receive-<dataset>`.

    Corrections that are returned packs become the next revision of their batches; what is said of their part does not count.

    Args:
        only_packs: nothing but returned packs is taken: the rows come from a database.

    Raises:
        NotTaken: a returned pack does not fit; the name of a correction tells no part.
        WrongUse: a file, part, sequence or revision cannot be taken.
    """
    with desk.ledger.step(found.id, "receive") as detail:
        received = _land(desk, found, sender, files, batch_date, only_packs, options)
        _enter(desk, received)
        detail |= {"batches": len(received), "duplicates": sum(r.duplicate for r in received)}
    return received


def _land(desk: Desk, found: Dataset, sender: Source, files: list[Path], batch_date: str, only_packs: bool, options: dict[str, Any]) -> list[landing.Received]:
    """Copy files into landing; see `submit`."""
    back = returns.take(desk, found, sender, files, batch_date, options.get("stated")) if options.get("correct") else None
    if back is None and only_packs:
        raise WrongUse(f"{found.id} from {sender.source} comes from a database. Run: python -m pipelines extract {found.id} --batch-date {batch_date}")
    if back is None and options.get("part") == "":
        raise NotTaken("part", "their names tell no part, and they are no returned packs")
    return landing.receive(desk.lake, found, sender, files, batch_date, **options) if back is None else back


def enter_landed(desk: Desk, found: Dataset) -> None:
    """Enter what lies in landing without a row in the ledger: a process was killed between the two, and nobody may send it again.

    The caller holds the lock `receive-<dataset>`.
    """
    t = tables.batches
    known = {(r["batch_id"], r["revision"]) for r in desk.ledger.rows(sa.select(t.c.batch_id, t.c.revision).where(t.c.dataset == found.id))}
    missing = [folder for batch_id, revision, folder in landing.places(desk.lake, found.id) if (batch_id, revision) not in known]
    for at in range(0, len(missing), TOGETHER):
        _enter(desk, [landing.received(landing.read_manifest(folder), True) for folder in missing[at:at + TOGETHER]])


def _enter(desk: Desk, received: list[landing.Received]) -> None:
    """Enter submissions that lie in landing: what else lies beside their files, then the batches."""
    if not received:
        return
    beside, rows = [], {}
    for one in received:
        manifest = landing.read_manifest(one.folder)
        batch, stored = BatchId.parse(one.batch_id), {f.stored for f in manifest.everything}
        beside += [f for f in one.folder.iterdir() if f.name not in stored]
        rows[one.batch_id, one.revision] = {
            "batch_id": one.batch_id, "revision": one.revision, "dataset": batch.dataset, "source": batch.source, "part": batch.part,
            "batch_date": batch.batch_date, "sequence": batch.sequence, "files": one.files, "bytes": one.bytes, "lines": one.lines,
            "builds_on": manifest.builds_on}
    objects.enter_files(desk.lake, desk.ledger, dict.fromkeys(beside))
    desk.ledger.add_batches(list(rows.values()))


def take_in(desk: Desk, found: Dataset, wanted: str | None) -> None:
    """Take what may be taken from the inbox, of one batch date or of all, and enter what is left in the ledger."""
    with writer(desk.lake, f"receive-{found.id}"):
        incoming.sweep(desk.lake)
        inbox.restore(desk.lake, found)
        enter_landed(desk, found)
        there, left = inbox.look(desk.lake, found), []
        for some in _together(one for one in there.deliveries if wanted in (None, one.batch_date)):
            left += _take(desk, found, some)
        _note(desk, found, [*there.troubles, *left], [one for one in there.deliveries if wanted not in (None, one.batch_date)])


def _together(deliveries: Iterable[Delivery]) -> Iterator[list[Delivery]]:
    """Runs of deliveries that are entered together. A correction is alone: it looks at what was entered before it."""
    run: list[Delivery] = []
    for one in deliveries:
        if run and (one.correct or run[-1].correct or len(run) == TOGETHER):
            yield run
            run = []
        run.append(one)
    if run:
        yield run


def _take(desk: Desk, found: Dataset, some: list[Delivery]) -> list[Trouble]:
    """Take deliveries, or say why some of them stay: copy each, enter all, empty the inbox of them."""
    left, taken = [], {}
    with desk.ledger.step(found.id, "receive") as detail:
        for one in some:
            sender = found.source(one.source)
            try:
                taken[one] = _land(desk, found, sender, list(one.stated), one.batch_date, bool(sender.database),
                                   {"part": one.part, "correct": one.correct, "stated": one.stated, "manifest": one.manifest})
            except WrongUse as error:
                left.append(_left(found, one, error))
        received = [batch for batches in taken.values() for batch in batches]
        _enter(desk, received)
        detail |= {"batches": len(received), "duplicates": sum(r.duplicate for r in received), **({"left": len(left)} if left else {})}
    folders: dict[tuple[str, Path], list[Delivery]] = {}
    for one in taken:
        folders.setdefault((one.source, one.folder), []).append(one)
    return left + [one for mine in folders.values() for one in _empty(found, mine)]


def _empty(found: Dataset, mine: list[Delivery]) -> Iterator[Trouble]:
    """Remove what was taken from one folder of the inbox; where that cannot be done at once, each delivery by itself."""
    try:
        inbox.empty(*mine)
    except NotTaken as error:
        if len(mine) == 1:
            yield _left(found, mine[0], error)
        else:
            for one in mine:
                yield from _empty(found, [one])


def _left(found: Dataset, one: Delivery, error: WrongUse) -> Trouble:
    code = error.code if isinstance(error, NotTaken) else "refused"
    part = f" of part {one.part}" if one.part not in ("", "all") else ""
    what = f"{len(one.files)} files{part} ({str(error).rstrip('.')})"
    return trouble(found.id, one.source, one.batch_date, code, len(one.files), what)


def _note(desk: Desk, found: Dataset, troubles: Iterable[Trouble], untried: Iterable[Delivery]) -> None:
    """Enter what is left; what an earlier try said of deliveries that were not tried now still holds."""
    t, waiting = tables.inbox, {(one.source, one.batch_date) for one in untried}
    earlier = desk.ledger.rows(sa.select(t).where(t.c.dataset == found.id, t.c.code.in_(_TRIED)))
    rows = {(r["source"], r["batch_date"], r["code"]): r for r in earlier if (r["source"], r["batch_date"]) in waiting}
    for one in inbox.merged(troubles):
        rows[one.source, one.batch_date, one.code] = {
            "dataset": found.id, "source": one.source, "batch_date": one.batch_date, "code": one.code, "files": one.files,
            "message": one.message, "seen_at": now()}
    desk.ledger.replace_inbox(found.id, list(rows.values()))


def notice(desk: Desk, found: Dataset) -> dict[str, Any]:
    """Look at a dataset's inbox, take nothing, and enter what has to stay.

    Returns:
        {"dates": the batch dates of what may be taken, "left": [(batch date or "", message), …], "unsettled": [message, …]}.
    """
    there = inbox.look(desk.lake, found)
    _note(desk, found, there.troubles, there.deliveries)
    rows = left(desk, found.id)
    return {"dates": sorted({one.batch_date for one in there.deliveries}),
            "left": [(r["batch_date"], r["message"]) for r in rows if r["code"] != UNSETTLED],
            "unsettled": [r["message"] for r in rows if r["code"] == UNSETTLED]}


def left(desk: Desk, dataset_id: str, batch_date: str | None = None) -> list[dict[str, Any]]:
    """Ledger rows of what stays in the inbox: of one batch date, or of all and of none."""
    t = tables.inbox
    query = sa.select(t).where(t.c.dataset == dataset_id).order_by(t.c.batch_date, t.c.source, t.c.code)
    return desk.ledger.rows(query.where(t.c.batch_date == batch_date) if batch_date else query)
