"""The way of the data, step by step; the order stands in `ingest`. The command line and the DAGs call the same functions.

receive (inbox → landing) or extract (database → landing) → stage (landing → staging) → judge (gate) → commit (base, current) →
feedback (packs into the outbox) → release. Every step
can be repeated: it looks at what is there and does what is missing. Steps pass batch keys, `<batch_id>~r<revision>`.
A step that raises leaves the batch in its last state; what can only be mended by new data or a new contract is
recorded as `refused` or `held`, with a reason that holds counts and rule ids, never values.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa

from pipelines import (
    base,
    checks,
    gate,
    grants,
    inbox,
    landing,
    ledger_tables as tables,
    mapping,
    new_values,
    objects,
    pages,
    problems,
    receiving,
    release as publication,
    scores,
    site,
    staging,
    waivers,
    withdrawal,
)
from pipelines.batch import BatchId, batch_date as resolve_date, key_of, split_key
from pipelines.committing import commit_some, derive, finish_commits, sweep_current, tidy
from pipelines.compiler import Plan
from pipelines.contract import Dataset, dataset as read_dataset, datasets
from pipelines.desk import Desk
from pipelines.feedback import pack, tickets
from pipelines.ledger import now
from pipelines.locks import writer
from pipelines.settings import WrongUse

PENDING = ("received", "staged", "passed")
FAILED = ("held", "refused")
DONE, WAITING = "done", "waiting"      # how a batch stands to `stage`
CLOSING, FOLDING = "closing", "folding"
TOGETHER, SMALL = 250, 1 << 20      # batches that one step works on at once; bytes of one that is staged together with others
UNSOUND = "unsound"      # code of a batch whose evidence could not be judged


Key = tuple[str, int]      # (batch_id, revision)
Judged = tuple[dict[str, Any], staging.Staged, gate.Verdict]      # a batch's row, what was staged of it, what the gate says


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
    finish_commits(desk, found.id)
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
    return [r for r in rows if r["state"] in PENDING or (r["state"] in FAILED and not _same(r, today, covers))]


def _same(row: dict[str, Any], stamp: dict[str, str], covers: waivers.Covers) -> bool:
    """Was the batch judged under today's contract, rules, code lists and waivers?"""
    return all(row[key] == stamp[key] for key in ("contract_hash", "lists_hash")) and row["waivers_hash"] == covers.of(row).hash


def _waiting(desk: Desk, found: Dataset, wanted: str | None) -> list[str]:
    """Keys to work on; of several revisions of a batch only the highest counts."""
    keys_ = []
    for row in undecided(desk, found):
        if wanted not in (None, row["batch_date"]):
            continue
        if row["revision"] < desk.ledger.batch(row["batch_id"])["revision"]:
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
        standing = {key: _standing(desk, row, stamp, covers) for key, (row,) in desk.ledger.of(tables.batches, map(split_key, batch_keys)).items()}
        waiting = [key for key, how in standing.items() if how == WAITING]
        ids = base.field_ids(desk.lake, plan) if waiting else {}
    done = {key for key, how in standing.items() if how == DONE}
    if waiting:
        with staging.engine(desk.lake, desk.project, plan) as con:
            for some in _alike(desk, plan, waiting, covers):
                made = _stage_some(con, desk, plan, some, ids, stamp, covers) if len(some) > 1 else {}
                done |= {key for key, staged in made.items() if staged}
                done |= {key for key in some if key not in made and _stage_one(con, desk, plan, key, ids, stamp, covers)}
        problems.note(desk, dataset_id, [])
    return [key for key in batch_keys if split_key(key) in done]


def _standing(desk: Desk, row: dict[str, Any], stamp: dict[str, str], covers: waivers.Covers) -> str | None:
    """Whether a batch is to be staged, is staged, or (None) is no longer this step's matter. The caller holds the dataset's lock."""
    same = _same(row, stamp, covers)
    if row["state"] in ("staged", "passed") and same and staging.read(desk.lake, row["batch_id"], row["revision"]):
        return DONE
    return WAITING if row["state"] in PENDING or (row["state"] in FAILED and not same) else None


def _alike(desk: Desk, plan: Plan, keys: list[Key], covers: waivers.Covers) -> list[list[Key]]:
    """The batches that may be staged by one pass: small, of one source and date, under the same waivers, without corrections; and each other one alone."""
    found: dict[tuple, list[Key]] = {}
    for key, (row,) in desk.ledger.of(tables.batches, keys).items():
        small, cover = not plan.windowed and (row["bytes"] or 0) <= SMALL and row["builds_on"] is None, covers.of(row)
        found.setdefault((row["source"], row["batch_date"], cover.hash, cover.ids) if small else key, []).append(key)
    return [run for some in found.values() for run in _each_once(some)]


def _stage_some(con: duckdb.DuckDBPyConnection, desk: Desk, plan: Plan, keys: list[Key], ids: dict[str, int], stamp: dict[str, str],
                covers: waivers.Covers) -> dict[Key, bool]:
    """Stage batches in one pass; tells of those that were read whether they are staged. The others are to be staged alone, and their faults told there.

    The work is done without the dataset's lock, as in `_stage_one`.
    """
    manifests = [landing.read_manifest(landing.folder(desk.lake, *key)) for key in keys]
    cover = covers.of(vars(manifests[0]))
    with desk.ledger.steps(keys, "stage") as details:
        try:
            made = staging.make_together(con, plan, plan.dataset.source(manifests[0].source), manifests, ids, cover)
        except duckdb.Error:
            made = {}
        found = {key: made[key[0]] for key in keys if key[0] in made}
        counts = {key: {k: v for k, v in one.counts.items() if k in tables.batches.c} for key, one in found.items()}
        for key in keys:
            details[key] |= counts.get(key, {})
            if key not in found:
                del details[key]
    own = {"state": "staged", "reason": None, "code": None} | stamp | {"waivers_hash": cover.hash}
    with writer(desk.lake, plan.dataset.id):
        standing = {key: _standing(desk, row, stamp, covers) for key, (row,) in desk.ledger.of(tables.batches, found).items()}
        fresh = [key for key, how in standing.items() if how == WAITING]
        for key in fresh:
            staging.settle(desk.lake, found[key], *key)
        if fresh:
            desk.ledger.replace_files({key: found[key].counts["units"] for key in fresh})
            desk.ledger.update_batches({key: own | counts[key] for key in fresh})
    return {key: how in (WAITING, DONE) for key, how in standing.items()}


def _stage_one(con: duckdb.DuckDBPyConnection, desk: Desk, plan: Plan, key: Key, ids: dict[str, int], stamp: dict[str, str],
               covers: waivers.Covers) -> bool:
    """Stage one batch. A file that cannot be read refuses it; a header that does not fit the contract holds it.

    The work is done without the dataset's lock. What another process staged or decided meanwhile stays.
    """
    batch_id, revision = key
    manifest = landing.read_manifest(landing.folder(desk.lake, batch_id, revision))
    source, cover = plan.dataset.source(manifest.source), covers.of(desk.ledger.batch(batch_id, revision))
    own = stamp | {"waivers_hash": cover.hash}
    try:
        with desk.ledger.step(batch_id, "stage", revision) as detail:
            found = staging.make(con, plan, source, manifest, ids, cover)
            counts = {k: v for k, v in found.counts.items() if k in tables.batches.c}
            detail |= counts
    except WrongUse as error:
        state = "held" if isinstance(error, mapping.HeaderMismatch) else "refused"
        units, values = [], {"state": state, "reason": str(error), "code": getattr(error, "code", None), "decided_at": now(), "decided_by": "stage"}
        found = None
    else:
        units, values = found.counts["units"], {"state": "staged", "reason": None, "code": None, **counts}
    with writer(desk.lake, plan.dataset.id):
        standing = _standing(desk, desk.ledger.batch(batch_id, revision), stamp, covers)
        if standing == WAITING:
            if found:
                staging.settle(desk.lake, found, batch_id, revision)
            desk.ledger.replace_files({key: units})
            desk.ledger.update_batch(batch_id, revision, **values, **own)
    return found is not None if standing == WAITING else standing == DONE


def judge(dataset_id: str, batch_keys: list[str], desk: Desk | None = None) -> list[str]:
    """Let Great Expectations judge each staged batch; returns the keys that passed.

    The others are held, and so is every batch whose month is closed (decided by `closing`, which re-opening undoes).
    """
    desk = desk or Desk.open()
    plan = desk.plan(dataset_id)
    shown = gate.newest((BatchId.parse(split_key(key)[0]).source, key) for key in batch_keys)
    with writer(desk.lake, staging.judging(dataset_id)):
        judged = {key: passed for some in _each_once(map(split_key, batch_keys)) for key, passed in _judge_some(desk, plan, some, shown).items()}
    passed = [key for key in batch_keys if judged[split_key(key)]]
    problems.note(desk, dataset_id, [row for rows in desk.ledger.of(tables.rule_results, judged).values() for row in rows if row["outcome"] == "fail"])
    if any(row["state"] == "held" for key, (row,) in desk.ledger.of(tables.batches, judged).items() if not judged[key]):
        site.build(desk)      # no release follows a held batch: the overview must show it now
    return passed


def _judge_some(desk: Desk, plan: Plan, keys: list[Key], shown: set[str]) -> dict[Key, bool]:
    """Judge staged batches; tells of each whether it has passed, now or before. What was staged anew meanwhile is left to who did it."""
    rows = {key: row for key, (row,) in desk.ledger.of(tables.batches, keys).items()}
    found = {key: staged for key in keys if rows[key]["state"] == "staged" and (staged := staging.read(desk.lake, *key))}
    marks = {key: staging.mark(one) for key, one in found.items()}
    if not found:
        return {key: rows[key]["state"] == "passed" for key in keys}
    with desk.ledger.steps(found, "judge") as details:
        verdicts = dict(zip(found, gate.judge_some(desk.lake, [(one.folder, rows[key], key_of(*key) in shown) for key, one in found.items()])))
        for key, verdict in verdicts.items():
            details[key] |= {"outcome": verdict.outcome, "rules": len(verdict.results)}
    with writer(desk.lake, plan.dataset.id):
        rows = {key: row for key, (row,) in desk.ledger.of(tables.batches, keys).items()}
        fresh = {key: (rows[key], one, verdicts[key]) for key, one in found.items() if rows[key]["state"] == "staged" and staging.mark(one) == marks[key]}
        passed = _enter_verdicts(desk, plan, fresh)
    if fresh:
        pages.write(desk, plan.dataset, fresh)
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


def record_results(desk: Desk, judged: Mapping[Key, tuple[gate.Verdict, staging.Staged]]) -> list[float | None]:
    """Enter what the gate found of batches in the ledger; returns the score of each."""
    results = {key: [{k: v for k, v in vars(r).items() if k in tables.rule_results.c} for r in verdict.results] for key, (verdict, _) in judged.items()}
    desk.ledger.replace_results({key: (results[key], found.counts["regions"], new_values.entries(found.counts)) for key, (_, found) in judged.items()})
    return [scores.dataset(results[key], found.counts) for key, (_, found) in judged.items()]


def commit(dataset_id: str, batch_keys: list[str], desk: Desk | None = None) -> dict[str, int]:
    """Make the passed batches part of base and derive current; returns counts of this call."""
    desk = desk or Desk.open()
    plan = desk.plan(dataset_id)
    total = {"batches": 0, "accepted": 0, "quarantined": 0}
    with writer(desk.lake, dataset_id):
        known = desk.ledger.of(tables.batches, map(split_key, batch_keys))
        rows = [known[split_key(key)][0] for key in batch_keys]
        for some in _each_once(dict.fromkeys((row["batch_id"], row["revision"]) for row in rows if row["state"] == "passed")):
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
    pages.write(desk, plan.dataset, map(split_key, batch_keys))
    return total | {"current_rows": state.facts["rows"]}


def _each_once(keys: Iterable[tuple[str, int]]) -> list[list[tuple[str, int]]]:
    """Runs of (batch_id, revision), at most `TOGETHER` long, that hold no batch twice."""
    runs: list[list[tuple[str, int]]] = [[]]
    for key in keys:
        if len(runs[-1]) == TOGETHER or key[0] in {b for b, _ in runs[-1]}:
            runs.append([])
        runs[-1].append(key)
    return [run for run in runs if run]


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
            for dataset_id in plans:
                problems.note(desk, dataset_id, [r for r in judged if r["dataset"] == dataset_id])
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
