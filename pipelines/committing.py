"""From the gate into base: the commit of batches, the end of one that died, what is derived from base, and what is swept.

The Iceberg commit decides, the ledger row follows, then the page, and last what was staged is removed; `finish_commits` does what a death left undone.
"""
from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

import sqlalchemy as sa

from pipelines import base, current, durable, ledger_tables as tables, objects, pages, release as publication, staged_batches
from pipelines.batch import BatchId, Key, key_of, split_key
from pipelines.compiler import Plan
from pipelines.contract import Dataset
from pipelines.desk import Desk
from pipelines.feedback import tickets
from pipelines.ledger import now
from pipelines.locks import Busy, writer
from pipelines.settings import Lake


def commit_some(desk: Desk, plan: Plan, keys: Sequence[Key]) -> None:
    """Move batches that have passed from staging into base and quarantine, in one commit. The caller holds the dataset's lock.

    Args:
        keys: (batch_id, revision), no batch twice.
    """
    folders = {(b, r): staged_batches.folder(desk.lake, b, r) for b, r in keys}
    with desk.ledger.steps(keys, "commit") as details:
        objects.replace(desk.lake, desk.ledger, _keep_quarantine(desk.lake, folders))
        tickets.enter(desk, folders)
        snapshot = base.accept(desk.lake, plan, {b: (r, folder) for (b, r), folder in folders.items()})
        for detail in details.values():
            detail["snapshot"] = str(snapshot)
    enter_accepted(desk, plan.dataset, keys)


def _keep_quarantine(lake: Lake, folders: Mapping[Key, Path]) -> list[Path]:
    """Keep the quarantine of batches as it was staged: the same file under another name, where the file system can."""
    kept = {key: quarantine_file(lake, *key) for key, folder in folders.items() if (folder / "quarantine.parquet").exists()}
    for key, file in kept.items():
        file.parent.mkdir(exist_ok=True)
        durable.link(folders[key] / "quarantine.parquet", file.with_suffix(".part"))
    durable.replace_all((file.with_suffix(".part"), file) for file in kept.values())
    return list(kept.values())


def enter_accepted(desk: Desk, found: Dataset, keys: Sequence[Key]) -> None:
    """Say in the ledger that base holds these revisions, and none before them."""
    t = tables.batches
    batch, revision = t.c.batch_id == sa.bindparam("b"), sa.bindparam("r")
    before = sa.or_(*(t.c.state == state for state in ("accepted", "held", "refused")))      # IN cannot be run for many
    replaced = [{"b": b, "r": r, "why": f"revision {r} replaced it"} for b, r in keys if r > 1]
    with desk.ledger.transaction() as con:
        if replaced:
            con.execute(t.update().where(batch, t.c.revision < revision, before).values(state="superseded", reason=sa.bindparam("why")), replaced)
        con.execute(t.update().where(batch, t.c.revision == revision).values(state="accepted", decided_at=now()), [{"b": b, "r": r} for b, r in keys])
    _show_accepted(desk, found, keys)


def _show_accepted(desk: Desk, found: Dataset, keys: Sequence[Key]) -> None:
    """Write the pages of accepted batches, and only then remove what was staged of them: what a death leaves tells that a page may be missing."""
    pages.write(desk, found, keys)
    for key in keys:
        shutil.rmtree(staged_batches.folder(desk.lake, *key), ignore_errors=True)


def finish_commits(desk: Desk, found: Dataset) -> None:
    """What base holds and the ledger does not say, because a commit died between the two, is accepted: before anything judges it again."""
    t = tables.batches
    passed = desk.ledger.rows(sa.select(t.c.batch_id, t.c.revision).where(t.c.dataset == found.id, t.c.state == "passed"))
    if passed:
        with writer(desk.lake, found.id):
            held = base.batches(desk.lake, found.id)
            if done := [(row["batch_id"], row["revision"]) for row in passed if held.get(row["batch_id"]) == row["revision"]]:
                enter_accepted(desk, found, done)
    if _accepted_left(desk, found):
        with writer(desk.lake, found.id):
            _show_accepted(desk, found, _accepted_left(desk, found))


def _accepted_left(desk: Desk, found: Dataset) -> list[Key]:
    """The accepted batches of which something is staged still."""
    there = [split_key(folder.name) for folder in desk.lake.staging.glob(f"{found.id}~*~r*") if folder.name.rpartition("~r")[2].isdecimal()]
    return [key for key, rows in desk.ledger.of(tables.batches, there).items() if rows and rows[0]["state"] == "accepted"] if there else []


def tidy(desk: Desk, plan: Plan, releasing: bool = False) -> None:
    """Remove what killed runs and replaced revisions left of a dataset, and enter what is new for `verify`. The caller holds its lock.

    Args:
        releasing: the caller holds the lock `release` too. Otherwise, while a release is being made, base is left as it is: that release may be
            about to pin what looks unnamed, and sweeps itself.
    """
    t, lake, dataset_id = tables.batches, desk.lake, plan.dataset.id
    _show_accepted(desk, plan.dataset, _accepted_left(desk, plan.dataset))
    query = sa.select(t.c.batch_id, t.c.revision).where(t.c.dataset == dataset_id, t.c.state.in_(("staged", "passed", "held")))
    staged_batches.sweep(lake, dataset_id, {key_of(**row) for row in desk.ledger.rows(query)})
    for part in (lake.quarantine / dataset_id).rglob("*.part"):
        part.unlink()
    with suppress(Busy), nullcontext() if releasing else writer(lake, "release", wait=0), writer(lake, deriving(dataset_id), wait=0):
        base.sweep(lake, plan, lambda: publication.pinned(lake, dataset_id))
    objects.enter(lake, desk.ledger, *(root / dataset_id for root in (lake.base, lake.quarantine, lake.current)))


def quarantine_file(lake: Lake, batch_id: str, revision: int) -> Path:
    """Where the rejected addresses of an accepted batch are kept."""
    return lake.quarantine / BatchId.parse(batch_id).dataset / f"{key_of(batch_id, revision)}.parquet"


def derive(desk: Desk, plan: Plan, whole: bool = False) -> current.Current:
    """The dataset's current state after all accepted batches. It needs not the dataset's lock but its own: sorting takes longer than a commit.

    Args:
        whole: as one part, whatever is there.
    """
    with writer(desk.lake, deriving(plan.dataset.id)):
        found = base.state(desk.lake, plan)
        files = {b: quarantine_file(desk.lake, b, revision) for b, revision in found.batches.items()}
        state = current.derive(desk.lake, plan, found, {b: file for b, file in files.items() if file.exists()}, whole)
        objects.enter(desk.lake, desk.ledger, state.folder)
        return state


def sweep_current(desk: Desk, plan: Plan, published: current.Current | None) -> None:
    """Remove derived states but the newest and the `published` one, unless one is being derived now. The caller holds the dataset's lock."""
    if published and set((desk.lake.current / plan.dataset.id).glob("*")) <= set(published.chain):
        return
    newest = derive(desk, plan)
    with suppress(Busy), writer(desk.lake, deriving(plan.dataset.id), wait=0):
        current.sweep(desk.lake, plan.dataset.id, [newest, *([published] if published else [])])


def deriving(dataset_id: str) -> str:
    """The lock under which the files of base are read for what is derived from them: none of them goes meanwhile."""
    return f"derive-{dataset_id}"
