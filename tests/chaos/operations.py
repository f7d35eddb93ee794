"""What is killed: one line per operation. A new one is added to `OPERATIONS`, and to a round of `plan`."""
from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import duckdb
import sqlalchemy as sa

from pipelines import base, committing, ledger_tables as tables, release as publication, steps
from pipelines.desk import Desk
from pipelines.locks import writer
from pipelines.maintenance import maintain
from pipelines.published import sha256
from pipelines.rebuild import rebuild
from pipelines.withdrawal import withdraw
from tests.chaos.world import DATASETS, A

Probe = Callable[[Desk], object]


@dataclass(frozen=True)
class Operation:
    """`run` may be repeated until it ends; `decided` changes at its decisive instant. `publishes`: all leftovers must be gone."""

    run: Callable[[Desk, int], object]
    decided: Probe
    publishes: bool = False


def tidy(desk: Desk) -> None:
    """What the commit of any other batch, or a release, removes."""
    for dataset in DATASETS:
        with writer(desk.lake, dataset):
            committing.tidy(desk, desk.plan(dataset))


def _keys(desk: Desk, dataset: str, *states: str) -> list[str]:
    t = tables.batches
    rows = desk.ledger.rows(sa.select(t).where(t.c.dataset == dataset, t.c.state.in_(states)).order_by(t.c.batch_date, t.c.revision))
    return [steps.key_of(r["batch_id"], r["revision"]) for r in rows]


def _receive(desk: Desk, _: int) -> None:
    for dataset in DATASETS:
        steps.receive(dataset, desk=desk)


def _stage(desk: Desk, _: int) -> None:
    for dataset in DATASETS:
        steps.stage(dataset, steps.receive(dataset, desk=desk), desk)


def _judge(desk: Desk, _: int) -> None:
    for dataset in DATASETS:
        steps.judge(dataset, _keys(desk, dataset, "staged", "passed"), desk)


def _commit(desk: Desk, _: int) -> None:
    for dataset in DATASETS:
        steps.commit(dataset, _keys(desk, dataset, "passed"), desk)


def _ingest(desk: Desk, _: int) -> None:
    for dataset in DATASETS:
        steps.ingest(dataset)


def _rollback(desk: Desk, target: int) -> None:
    steps.rollback(target, desk)


def _withdraw(desk: Desk, target: int) -> None:
    """One record of the first dataset, the same one however often this is run again."""
    rows = steps.derive(desk, desk.plan(A)).relation
    with duckdb.connect() as con:
        keys = [k for k, in con.execute(f"SELECT _key FROM {rows} ORDER BY id_number").fetchall()]
    withdraw(A, [keys[target * 37 % len(keys)]], "个人信息保护法第四十七条", f"第{target}号", desk)


def _batches(desk: Desk) -> object:
    return len(desk.ledger.rows(sa.select(tables.batches.c.batch_id)))


def _states(*states: str) -> Probe:
    return lambda desk: [len(_keys(desk, d, *states)) for d in DATASETS]


def _snapshots(desk: Desk) -> object:
    return [base.state(desk.lake, desk.plan(d)).snapshot for d in DATASETS]


def _withdrawn(desk: Desk) -> object:
    t = tables.withdrawals
    return desk.ledger.rows(sa.select(t.c.id, t.c.state).order_by(t.c.id))


def _shown(desk: Desk) -> object:
    return sha256(desk.lake.database)


OPERATIONS = {
    "receive": Operation(_receive, _batches),
    "stage": Operation(_stage, _states("staged", "passed")),
    "judge": Operation(_judge, _states("passed")),
    "commit": Operation(_commit, _snapshots),
    "ingest": Operation(_ingest, _snapshots),
    "release": Operation(lambda desk, _: steps.release(desk), _shown, publishes=True),
    "rebuild": Operation(lambda desk, _: rebuild(A, desk), _snapshots),
    "rollback": Operation(_rollback, _shown),
    "maintain": Operation(lambda desk, _: maintain(DATASETS, desk=desk), _snapshots),
    "withdraw": Operation(_withdraw, _withdrawn),
}


def plan(dice: random.Random, number: int) -> list[str]:
    """The operations of one round, in order. Every round brings a new generation and publishes it."""
    taking = ["ingest"] if dice.random() < 0.3 else ["receive", "stage", "judge", "commit"]
    after = ["rebuild", "release"] if number % 4 == 1 else ["maintain", "release"] if number % 2 else []
    return [*taking, "release", *after, *(["withdraw"] if number % 3 == 2 else []), *(["rollback"] if number % 3 == 1 else [])]


def target(desk: Desk) -> int:
    """The release to roll back to: the one before the one shown."""
    shown = publication.shown_release(desk.ledger)
    return max((m["release_id"] for m in publication.kept(desk.lake) if m["release_id"] < shown), default=shown)
