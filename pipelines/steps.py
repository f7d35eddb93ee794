"""The way of the data, step by step; the order stands in `ingest`. The command line and the DAGs call the same functions.

receive (inbox → landing) or extract (database → landing) → stage (landing → staging) → judge (gate) → commit (base, current) →
feedback (packs into the outbox) → release. Every step
can be repeated: it looks at what is there and does what is missing. Steps pass batch keys, `<batch_id>~r<revision>`.
A step that raises leaves the batch in its last state; what can only be mended by new data or a new contract is
recorded as `refused` or `held`, with a reason that holds counts and rule ids, never values.
"""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines import (
    base,
    checks,
    gate,
    grants,
    inbox,
    landing,
    ledger_tables as tables,
    objects,
    pages,
    problems,
    receiving,
    release as publication,
    site,
    staged_batches,
    staging,
    waivers,
    withdrawal,
)
from pipelines.arranging import alike, stage_one, stage_some
from pipelines.batch import TOGETHER, BatchId, batch_date as resolve_date, each_once, key_of, split_key
from pipelines.committing import commit_some, derive, finish_commits, sweep_current, tidy
from pipelines.contract import Dataset, dataset as read_dataset, datasets
from pipelines.desk import Desk
from pipelines.feedback import pack
from pipelines.judging import judge_some
from pipelines.ledger import now
from pipelines.locks import writer
from pipelines.settings import WrongUse
from pipelines.standing import DONE, FAILED, PENDING, WAITING, same_terms, standing_of


def ingest(dataset_id: str, batch_date: str | None = None) -> dict[str, Any]:
    """All steps for one dataset: of one batch date, or of everything that waits.

    Returns:
        {"keys": […], "accepted": […], "packs": […], "troubles": […], "unsettled": […]} of this call.
    """
    desk = Desk.open()
    if inbox_dates(desk, read_dataset(dataset_id, desk.project)):
        gate.warm()
    received = receive(dataset_id, batch_date, desk)
    accepted = judge(dataset_id, stage(dataset_id, received))
    counts = commit(dataset_id, accepted) if accepted else {}
    packs = pack.make_waiting(dataset_id)
    unsettled = [row["message"] for row in receiving.left(Desk.open(), dataset_id, batch_date) if row["code"] == receiving.UNSETTLED]
    return {"keys": received, "accepted": accepted, "counts": counts, "packs": packs, "troubles": report(dataset_id, received, batch_date=batch_date),
            "unsettled": unsettled}


def receive(dataset_id: str, batch_date: str | None = None, desk: Desk | None = None) -> list[str]:
    """Take what may be taken from the inbox into landing; returns the keys of all waiting batches.

    Waiting: received but not decided, or held or refused under a contract, code lists or waivers that have changed since. What is left in the
    inbox is entered in the ledger; nothing there stops the rest.
    """
    desk = desk or Desk.open()
    found = read_dataset(dataset_id, desk.project)
    wanted = resolve_date(batch_date) if batch_date else None
    receiving.take_in(desk, found, wanted)
    finish_commits(desk, found)
    return _waiting(desk, found, wanted)


def notice(dataset_id: str, desk: Desk | None = None) -> dict[str, Any]:
    """What the inbox of a dataset holds that may be taken, and what has to stay; see `receiving.notice`."""
    desk = desk or Desk.open()
    return receiving.notice(desk, read_dataset(dataset_id, desk.project))


def inbox_dates(desk: Desk, found: Dataset) -> set[str]:
    """The batch dates that the inbox holds deliveries for that may be taken."""
    return {one.batch_date for one in inbox.look(desk.lake, found).deliveries}


def submit(dataset_id: str, files: Iterable[Path], source: str, batch_date: str, desk: Desk | None = None,
           **options: Any) -> list[landing.Received]:
    """Copy a department's files into landing and enter them in the ledger; the same bytes again change nothing.

    Args:
        dataset_id: the dataset the files belong to.
        files: what the department sent for this date.
        source: slug, department name or USCC of the sender.
        batch_date: ISO date of the submission (报送日期).
        options: part, sequence, correct, revision, as `landing.receive` takes them.

    Raises:
        WrongUse: the dataset, source, date or a file cannot be taken.
    """
    desk = desk or Desk.open()
    found = read_dataset(dataset_id, desk.project)
    sender = found.source(source)
    with writer(desk.lake, f"receive-{dataset_id}"):
        return receiving.submit(desk, found, sender, list(files), resolve_date(batch_date), only_packs=bool(sender.database), **options)


def extract(dataset_id: str, batch_date: str, source: str | None = None, again: bool = False, desk: Desk | None = None) -> list[dict[str, Any]]:
    """Read the databases of a dataset into landing: all of them, or one; see `sources.extracting.extract`.

    Raises:
        WrongUse: the dataset has no such database, or it cannot be read.
        Later: it cannot be read now (window, connections, a cut that lasts); what was read is kept.
    """
    from pipelines.sources import extracting

    desk = desk or Desk.open()
    found, day = read_dataset(dataset_id, desk.project), resolve_date(batch_date)
    wanted = [found.source(source)] if source else [s for s in found.sources if s.database]
    if not wanted or not all(s.database for s in wanted):
        raise WrongUse(f"{dataset_id}: {'this source sends' if wanted else 'all its sources send'} files. Put them into the inbox, or use: "
                       f"python -m pipelines receive {dataset_id} FILE")
    return [extracting.extract(desk, found, one, day, again) for one in wanted]


def undecided(desk: Desk, found: Dataset) -> list[dict[str, Any]]:
    """Ledger rows of the batches to work on, oldest first: not decided, or decided against under another contract."""
    t, today, covers = tables.batches, desk.stamp(found), waivers.Covers(desk.ledger, found.id)
    rows = desk.ledger.rows(sa.select(t).where(t.c.dataset == found.id).order_by(t.c.batch_date, t.c.sequence, t.c.batch_id, t.c.revision))
    return [r for r in rows if r["state"] in PENDING or (r["state"] in FAILED and not same_terms(r, today, covers))]


def _waiting(desk: Desk, found: Dataset, wanted: str | None) -> list[str]:
    """Keys to work on; of several revisions of a batch only the highest counts."""
    t, keys_ = tables.batches, []
    newest = {r["batch_id"]: r["revision"] for r in desk.ledger.rows(sa.select(t.c.batch_id, t.c.revision).where(t.c.dataset == found.id).order_by(t.c.revision))}
    for row in undecided(desk, found):
        if wanted not in (None, row["batch_date"]):
            continue
        if row["revision"] < newest[row["batch_id"]]:
            desk.ledger.update_batch(row["batch_id"], row["revision"], state="superseded", decided_at=now(),
                                     reason="a correction with a higher revision was received")
        else:
            keys_.append(key_of(row["batch_id"], row["revision"]))
    return keys_


def stage(dataset_id: str, batch_keys: list[str], desk: Desk | None = None) -> list[str]:
    """Standardise, type, test and split each batch in one pass; returns the keys that were staged.

    A batch that another process has decided meanwhile is left alone.

    Raises:
        WrongUse: a rule cannot fail, or the contract changed a column's type and the dataset must be rebuilt first.
    """
    desk = desk or Desk.open()
    plan = desk.plan(dataset_id)
    stamp, covers = desk.stamp(plan.dataset), waivers.Covers(desk.ledger, dataset_id)
    with writer(desk.lake, dataset_id):
        standing = {key: standing_of(desk, row, stamp, covers) for key, (row,) in desk.ledger.of(tables.batches, map(split_key, batch_keys)).items()}
        waiting = [key for key, how in standing.items() if how == WAITING]
        ids = base.field_ids(desk.lake, plan) if waiting else {}
    done = {key for key, how in standing.items() if how == DONE}
    if waiting:
        with staging.engine(desk.lake, desk.project, plan) as con:
            for some in alike(desk, plan, waiting, covers):
                made = stage_some(con, desk, plan, some, ids, stamp, covers) if len(some) > 1 else {}
                done |= {key for key, staged in made.items() if staged}
                done |= {key for key in some if key not in made and stage_one(con, desk, plan, key, ids, stamp, covers)}
        problems.note(desk, dataset_id, [])
    return [key for key in batch_keys if split_key(key) in done]


def judge(dataset_id: str, batch_keys: list[str], desk: Desk | None = None) -> list[str]:
    """Let Great Expectations judge each staged batch; returns the keys that passed.

    The others are held, and so is every batch whose month is closed (decided by `closing`, which re-opening undoes).
    """
    desk = desk or Desk.open()
    plan = desk.plan(dataset_id)
    shown = gate.newest((BatchId.parse(split_key(key)[0]).source, key) for key in batch_keys)
    with writer(desk.lake, staged_batches.judging(dataset_id)):
        runs = each_once(map(split_key, batch_keys), most=max(1, min(TOGETHER, gate.RESULTS // max(1, len(plan.rules)))))
        judged = {key: passed for some in runs for key, passed in judge_some(desk, plan, some, shown).items()}
    passed = [key for key in batch_keys if judged[split_key(key)]]
    failing = desk.ledger.of(tables.rule_results, judged, tables.rule_results.c.outcome == "fail")
    problems.note(desk, dataset_id, [row for rows in failing.values() for row in rows])
    if any(row["state"] == "held" for key, (row,) in desk.ledger.of(tables.batches, judged).items() if not judged[key]):
        site.build(desk)      # no release follows a held batch: the overview must show it now
    return passed


def commit(dataset_id: str, batch_keys: list[str], desk: Desk | None = None) -> dict[str, int]:
    """Make the passed batches part of base and derive current; returns counts of this call."""
    desk = desk or Desk.open()
    plan = desk.plan(dataset_id)
    total = {"batches": 0, "accepted": 0, "quarantined": 0}
    with writer(desk.lake, dataset_id):
        known = desk.ledger.of(tables.batches, map(split_key, batch_keys))
        rows = [known[split_key(key)][0] for key in batch_keys]
        fresh = list(dict.fromkeys((row["batch_id"], row["revision"]) for row in rows if row["state"] == "passed"))
        for some in each_once(fresh):
            commit_some(desk, plan, some)
        for row in rows:
            total = {"batches": total["batches"] + 1, "accepted": total["accepted"] + (row["accepted"] or 0),
                     "quarantined": total["quarantined"] + (row["quarantined"] or 0)}
    with desk.ledger.step(dataset_id, "derive") as detail:
        state = derive(desk, plan)
        detail["rows"] = state.facts["rows"]
    with writer(desk.lake, dataset_id):
        tidy(desk, plan)
    problems.note(desk, dataset_id, [])
    pages.write(desk, plan.dataset, known.keys() - fresh)
    return total | {"current_rows": state.facts["rows"]}


def report(dataset_id: str, batch_keys: list[str], desk: Desk | None = None, batch_date: str | None = None) -> list[str]:
    """One message per batch that was held or refused, then per place of the inbox that cannot be taken, and what to do.

    Args:
        batch_date: what is left in the inbox for other dates is not told.
    """
    desk = desk or Desk.open()
    messages = []
    for key in batch_keys:
        batch_id, revision = split_key(key)
        row = desk.ledger.batch(batch_id, revision)
        if row["state"] in FAILED:
            messages.append(f"{row['state']}: {row['reason']} See: python -m pipelines why {batch_id}")
    return messages + [row["message"] for row in receiving.left(desk, dataset_id, batch_date) if row["code"] != receiving.UNSETTLED]


def release(desk: Desk | None = None) -> dict[str, Any] | None:
    """Publish the last accepted state of every dataset; None when nothing changed since the last release.

    Raises:
        checks.ReleaseStopped: a rule across datasets that may stop a release fails; what was published stays.
    """
    desk = desk or Desk.open()
    plans, states = {}, {}
    with writer(desk.lake, "release"):
        for found in (d for d in datasets(desk.project) if d.status != "draft"):
            plan = desk.plan(found.id)
            with writer(desk.lake, found.id):
                state = derive(desk, plan)
            plans[found.id] = plan
            if state.facts["batches"]:
                states[found.id] = state
        with desk.ledger.step("release", "checks") as detail:
            judged = checks.judge(desk, plans, states)
            detail |= {"failing": sum(r["outcome"] == "fail" for r in judged)}
            problems.note_checks(desk, plans, judged)
            checks.stop_release(desk, plans)
        with desk.ledger.step("release", "release") as detail:
            withdrawal.finish(desk.lake, desk.ledger)
            done = publication.publish(desk.lake, desk.project, plans, states, desk.ledger, "accepted batches", withdrawal.withdrawn(desk.ledger))
            detail |= done or {"changed": False}
        with desk.ledger.step("grants", "renew") as detail:
            detail |= grants.renew(desk, plans, states)
        objects.enter(desk.lake, desk.ledger, desk.lake.releases)
        for dataset_id, plan in plans.items():
            with writer(desk.lake, dataset_id):
                sweep_current(desk, plan, states.get(dataset_id))
                tidy(desk, plan, releasing=True)
        site.build(desk, plans)
    return done


def rollback(release_id: int | None = None, desk: Desk | None = None) -> dict[str, Any]:
    """Point lake.duckdb back to an earlier kept release: the one named, or the one before the newest."""
    desk = desk or Desk.open()
    with writer(desk.lake, "release"), desk.ledger.step("release", "rollback") as detail:
        withdrawal.finish(desk.lake, desk.ledger)
        done = publication.rollback(desk.lake, desk.project, desk.ledger, release_id)
        detail |= done
        site.describe(desk)
    return done
