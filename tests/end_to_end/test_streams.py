"""Streams and time: cities and sources live side by side, and the order in which batches arrive leaves no trace."""
from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
from dataclasses import dataclass

import duckdb
import pytest
import sqlalchemy as sa
from pyiceberg.exceptions import NoSuchTableError

from pipelines import base, catalogue, ledger_tables as tables, pages, published, segments, steps
from pipelines.current import Current
from tests.support import HEADER, RESIDENCE, desk, resident_id, small_project, write_csv

DATASET = "population.residence"
NAMES = ["赵一", "钱二", "孙三", "李四", "周五", "吴六", "郑七", "王八"]


def _row(number: int, status: str = "有效", op: str = "", name: str | None = None, id_number: str | None = None) -> tuple:
    return (id_number or resident_id(number), name or NAMES[number % len(NAMES)], "1990-01-01", "640104", status, op)


@pytest.fixture
def upsert(tmp_path):
    return desk(tmp_path, small_project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))


@pytest.fixture
def snapshot(tmp_path):
    return desk(tmp_path, small_project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "snapshot")))


def _send(at, tmp_path, date: str, rows: list[tuple], part: str = "640100", source: str = "police", **options) -> list[str]:
    file = write_csv(tmp_path / "out" / f"{part}-{date}-{len(rows)}-{abs(hash(str(rows)))}.csv", HEADER, rows)
    steps.submit(DATASET, [file], source, date, desk=at, **options)
    keys = steps.receive(DATASET, desk=at)
    accepted = steps.judge(DATASET, steps.stage(DATASET, keys, at), at)
    if accepted:
        steps.commit(DATASET, accepted, at)
    assert not (troubles := steps.report(DATASET, keys, at)), troubles
    return accepted


def _current(at) -> list[tuple]:
    state = steps.derive(at, at.plan(DATASET))
    return duckdb.sql(f"SELECT id_number, name, status, _source, _batch, _file, _ordinal, _stale_since::VARCHAR "
                      f"FROM '{state.rows}' ORDER BY ALL").fetchall()


def test_two_cities_and_two_sources_live_side_by_side(snapshot, tmp_path):
    _send(snapshot, tmp_path, "2026-10-01", [_row(1), _row(2)], part="640100")
    _send(snapshot, tmp_path, "2026-10-01", [_row(3)], part="640200")
    _send(snapshot, tmp_path, "2026-10-01", [_row(1, "网格"), _row(4)], part="640100", source="grid")
    _send(snapshot, tmp_path, "2026-11-01", [_row(1)], part="640100")
    found = {r[0]: (r[2], r[3]) for r in _current(snapshot)}
    assert found == {resident_id(1): ("有效", "police"), resident_id(3): ("有效", "police"), resident_id(4): ("有效", "grid")}
    facts = steps.derive(snapshot, snapshot.plan(DATASET)).facts
    assert facts["disagreements"] == {"status": 1}


@dataclass(frozen=True)
class Sent:
    """One of the ten batches. Rows: (number, status, operation); status `?` makes the row's name unreadable, so it is rejected."""

    date: str
    rows: tuple[tuple[int, str, str], ...]
    sequence: int = 1
    revision: int = 1
    part: str = "640100"
    source: str = "police"

    @property
    def batch_id(self) -> str:
        return f"{DATASET}~{self.source}~{self.part}~{self.date}~{self.sequence}"

    @property
    def key(self) -> str:
        return f"{self.batch_id}~r{self.revision}"

    def lines(self) -> list[tuple]:
        return [_row(n, status, op, name="张??" if status == "?" else None) for n, status, op in self.rows]


def _sent(date: str, rows: str, **more) -> Sent:
    """`1甲 2乙D`: number, status and, where it deletes, D."""
    return Sent(date, tuple((int(n), status, op) for n, status, op in re.findall(r"(\d+)(\D)(D?)", rows)), **more)


TEN = (
    _sent("2026-09-01", "1甲 2甲 3甲 4甲 5甲"),
    _sent("2026-10-01", "1乙 4乙 6乙"),
    _sent("2026-10-01", "1丙 5丙 6丙 4? 7丙", revision=2),     # corrects the one before; 4 is rejected
    _sent("2026-10-01", "7丁 8丁 1丁", sequence=2),
    _sent("2026-11-01", "2甲D 3戊 8戊"),                       # deletes
    _sent("2026-09-01", "1甲 2甲 3甲 4甲 5甲"),                 # the first one again
    _sent("2026-10-15", "1己 9己 2己", source="grid"),         # another source, of less authority
    _sent("2026-10-01", "11庚 5庚 6庚 7庚", part="640200"),     # another part: 6 stands on the line it has in the correction
    _sent("2027-06-01", "3辛 5辛 8? 10辛 1辛D"),                # early; a snapshot restates, 8 is rejected
    _sent("2026-12-01", "11壬", part="640200"),                # far less than before
)


def _orders() -> list[list[int]]:
    """By date of dispatch, its reverse, each batch first, each last, and 40 more."""
    rng, all_ = random.Random(20261101), list(range(10))
    found = [all_, all_[::-1]]
    for i in all_:
        rest = rng.sample([n for n in all_ if n != i], 9)
        found += [[i, *rest], [*rest[::-1], i]]
    return found + [rng.sample(all_, 10) for _ in range(40)]


def _expected(load: str, arrived: list[Sent]) -> list[tuple]:
    """What `current` must hold, from the rows that were sent: (id_number, status, source, batch, ordinal, stale since)."""
    valid = {b.batch_id: b for b in sorted(arrived, key=lambda b: b.revision)}.values()
    newest = {(b.source, b.part): (b.date, b.sequence) for b in sorted(valid, key=lambda b: (b.date, b.sequence))}
    rows, rejected = [], []
    for b in valid:
        for ordinal, (n, status, op) in enumerate(b.rows, 1):
            line = (b.date, b.sequence, ordinal, b.part, b.source, n, status, op, b.batch_id)
            (rejected if status == "?" else rows).append(line)
    if load == "snapshot":
        whole = [r for r in rows if newest[r[4], r[3]] == r[:2]]
        unclear = {(r[4], r[3], r[5]) for r in rejected if newest[r[4], r[3]] == r[:2]} - {(r[4], r[3], r[5]) for r in whole}
        rows = whole + [r for r in rows if (r[4], r[3], r[5]) in unclear]
    best = {(r[4], r[5]): r for r in sorted(rows)}
    winner = {}
    for source in ("grid", "police"):
        for (sender, n), (date, sequence, ordinal, _, _, _, status, op, batch) in best.items():
            if sender == source and op != "D":
                since = min((r[0] for r in rejected if (r[4], r[5]) == (source, n) and r[:2] > (date, sequence)), default=None)
                winner[n] = (resident_id(n), status, source, batch, ordinal, since)
    return sorted(winner.values())


class Replays:
    """One lake in which the ten batches were staged and judged once; each order of arrival begins in an empty ledger."""

    def __init__(self, root):
        self.desks = {}
        for load in ("upsert", "snapshot"):
            made = small_project(root / load, population__residence=RESIDENCE.replace("LOAD", load))
            self.desks[load] = desk(root, made)
        self.at, self.root = self.desks["upsert"], root
        self.files = {b: write_csv(root / f"out/{n}/{b.part}.csv", HEADER, b.lines()) for n, b in enumerate(TEN)}
        for b in dict.fromkeys(TEN):
            self.submit(self.at, b)
        keys = list(dict.fromkeys(b.key for b in TEN))
        assert steps.judge(DATASET, steps.stage(DATASET, keys, self.at), self.at) == keys
        self.rows = {key: self.at.ledger.batch(*steps.split_key(key)) for key in keys}
        for key in keys:
            shutil.copytree(self.at.lake.staging / key / "accepted", root / "base" / key)
            shutil.move(self.at.lake.staging / key, root / "store" / key)

    def submit(self, at, b: Sent) -> None:
        steps.submit(DATASET, [self.files[b]], b.source, b.date, desk=at, sequence=b.sequence, revision=b.revision)

    def begin(self) -> None:
        """Forget every batch."""
        lake = self.at.lake
        with self.at.ledger.transaction() as con:
            for table in tables.TABLES.values():
                con.execute(table.delete())
        with contextlib.suppress(NoSuchTableError):
            catalogue.iceberg(lake).drop_table(("population", "residence"))
        for folder in (lake.landing, lake.staging, lake.base, lake.quarantine, lake.releases):
            for path in folder.iterdir():
                if path.is_dir():      # the prepared lists stay
                    shutil.rmtree(path)

    def arrive(self, at, b: Sent) -> None:
        """Receive, and commit what waits as it was staged and judged before."""
        self.submit(at, b)
        keys = steps.receive(DATASET, desk=at)
        for key in keys:
            shutil.copytree(self.root / "store" / key, at.lake.staging / key)
            at.ledger.update_batch(*steps.split_key(key), state="passed", **{k: self.rows[key][k] for k in ("records", "accepted", "quarantined")})
        steps.commit(DATASET, keys, at)

    def states(self) -> list[tuple]:
        t = tables.batches
        return [tuple(r.values()) for r in self.at.ledger.rows(sa.select(t.c.batch_id, t.c.revision, t.c.state).order_by(t.c.batch_id, t.c.revision))]


@pytest.fixture(scope="module")
def replays(tmp_path_factory):
    return Replays(tmp_path_factory.mktemp("replays"))


def _found(at) -> list[tuple]:
    return [(r[0], *r[2:5], r[6], r[7]) for r in _current(at)]


@pytest.mark.parametrize("sampled", [22, pytest.param(62, marks=pytest.mark.long)])
def test_ten_batches_in_sampled_orders_end_alike(replays, monkeypatch, sampled):
    """So many orders through the real receipt and the real bookkeeping. Only base is a dictionary here: accepting replaces a batch's files."""
    held = {}

    def accept(_lake, _plan, staged):
        for batch_id, (revision, folder) in staged.items():
            held[batch_id] = segments.Version(batch_id, (str(replays.root / "base" / folder.name / "rows.parquet"),), 0, ((batch_id, revision),))

    derive = steps.derive
    monkeypatch.setattr(base, "accept", accept)
    monkeypatch.setattr(base, "state", lambda *_: segments.State(1, held))
    monkeypatch.setattr(steps, "tidy", lambda *_, **__: None)
    monkeypatch.setattr(pages, "write", lambda *_: None)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    orders, ends = _orders()[:sampled], []
    assert {o[0] for o in orders} == {o[-1] for o in orders} == set(range(10)) and len(orders) == sampled
    for n, order in enumerate(orders):
        held.clear()
        replays.begin()
        if n % 6 == 0:
            shutil.rmtree(replays.at.lake.current / DATASET, ignore_errors=True)
        monkeypatch.setattr(steps, "derive", lambda *_: Current(replays.root, {"rows": 0}))
        for i in order:
            replays.arrive(replays.at, TEN[i])
        monkeypatch.setattr(steps, "derive", derive)
        ends.append((replays.states(), {load: (steps.derive(at, at.plan(DATASET)).facts, _found(at)) for load, at in replays.desks.items()}))
    assert all(end == ends[0] for end in ends), [n for n, end in enumerate(ends) if end != ends[0]]
    assert [state for _, _, state in ends[0][0]].count("superseded") == 1
    assert {load: rows for load, (_, rows) in ends[0][1].items()} == {load: _expected(load, list(TEN)) for load in replays.desks}


@pytest.mark.parametrize("load", ["upsert", "snapshot"])
def test_every_step_on_the_way_is_what_the_rows_say(replays, load, monkeypatch):
    """The whole way, Iceberg included, held against a second implementation after every arrival; then published."""
    monkeypatch.setattr(pages, "write", lambda *_: None)
    at, orders, published_files = replays.desks[load], _orders(), []
    engine = published.Engine(at.lake, at.project)
    for order in (orders[1], orders[-1]):
        replays.begin()
        for done, i in enumerate(order, 1):
            replays.arrive(at, TEN[i])
            assert _found(at) == _expected(load, [TEN[j] for j in order[:done]]), order[:done]
        plan = at.plan(DATASET)
        entry = published.dataset(engine, plan, steps.derive(at, plan))
        published_files.append({k: v for k, v in entry.items() if k not in ("files", "snapshot")} | {"sha256": entry["files"][0]["sha256"]})
    engine.close()
    assert published_files[0] == published_files[1] and published_files[0]["rows"] == len(_expected(load, list(TEN)))


@pytest.mark.parametrize("broken", [
    _row(1, name="张??"),
    _row(1, id_number=resident_id(1)[:-1] + ("0" if resident_id(1)[-1] != "0" else "1")),
], ids=["name unreadable", "key unreadable"])
def test_a_quarantined_row_does_not_make_its_person_vanish(snapshot, tmp_path, broken):
    good = [_row(n) for n in range(2, 8)]
    first = _row(1)
    if broken[0] != first[0]:
        broken = (broken[0], first[1], *broken[2:])
    _send(snapshot, tmp_path, "2026-10-01", [first, *good])
    _send(snapshot, tmp_path, "2026-11-01", [broken, *good[:-1]])
    found = {r[0]: r[7] for r in _current(snapshot)}
    assert found[resident_id(1)] == "2026-11-01"
    assert resident_id(7) not in found
    assert [found[resident_id(n)] for n in range(2, 7)] == [None] * 5


def test_a_batch_that_was_sent_twice_is_one_batch(upsert, tmp_path):
    rows = [_row(1), _row(2)]
    assert _send(upsert, tmp_path, "2026-10-01", rows)
    before = _current(upsert)
    assert _send(upsert, tmp_path, "2026-10-01", rows) == []
    assert _current(upsert) == before


@pytest.mark.parametrize("load", ["upsert", "snapshot"])
@pytest.mark.parametrize(("on_reject", "left"), [("keep", "2026-11-01"), ("drop", None)])
def test_what_becomes_of_a_rejected_row_s_last_version_is_declared(tmp_path, load, on_reject, left):
    contract = RESIDENCE.replace("LOAD", load).replace("{property: loss_budget,", "{property: on_reject, value: " + on_reject + "}\n      - {property: loss_budget,")
    at = desk(tmp_path, small_project(tmp_path / "project", population__residence=contract))
    rows = [_row(n) for n in range(1, 6)]
    _send(at, tmp_path, "2026-10-01", rows)
    _send(at, tmp_path, "2026-11-01", [_row(1, name="钱??"), *rows[1:]])
    found = {r[0]: r[7] for r in _current(at)}
    assert found.get(resident_id(1), None) == left and (resident_id(1) in found) == (on_reject == "keep")
    assert [found[resident_id(n)] for n in range(2, 6)] == [None] * 4


def test_a_column_the_contract_gains_is_empty_in_what_was_accepted_before(upsert, tmp_path):
    _send(upsert, tmp_path, "2026-10-01", [_row(1), _row(2)])
    path = upsert.project.contracts / "population/residence.yaml"
    path.write_text(path.read_text() + "      - {name: landlord, businessName: 房主, description: Landlord, semanticType: org_name, classification: internal}\n")
    assert steps.release(upsert)["release_id"] == 1
    header = (*HEADER, "房主")
    file = write_csv(tmp_path / "new/640100.csv", header, [(*_row(2), "某公司")])
    steps.submit(DATASET, [file], "police", "2026-11-01", desk=upsert)
    keys = steps.receive(DATASET, desk=upsert)
    steps.commit(DATASET, steps.judge(DATASET, steps.stage(DATASET, keys, upsert), upsert), upsert)
    rows = steps.derive(upsert, upsert.plan(DATASET)).rows
    assert duckdb.sql(f"SELECT landlord FROM '{rows}' ORDER BY id_number").fetchall() == [(None,), ("某公司",)]
