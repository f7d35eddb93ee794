"""Streams and time: cities and sources live side by side, and the order in which batches arrive leaves no trace."""
from __future__ import annotations

import itertools

import duckdb
import pytest

from pipelines import steps
from tests.support import HEADER, RESIDENCE, desk, project, resident_id, write_csv

NAMES = ["赵一", "钱二", "孙三", "李四", "周五", "吴六", "郑七", "王八"]


def _row(number: int, status: str = "有效", op: str = "", name: str | None = None, id_number: str | None = None) -> tuple:
    return (id_number or resident_id(number), name or NAMES[number % len(NAMES)], "1990-01-01", "640104", status, op)


@pytest.fixture
def upsert(tmp_path):
    return desk(tmp_path, project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))


@pytest.fixture
def snapshot(tmp_path):
    return desk(tmp_path, project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "snapshot")))


def _send(at, tmp_path, date: str, rows: list[tuple], part: str = "640100", source: str = "police", **options) -> list[str]:
    file = write_csv(tmp_path / "out" / f"{part}-{date}-{len(rows)}-{abs(hash(str(rows)))}.csv", HEADER, rows)
    steps.submit("population.residence", [file], source, date, desk=at, **options)
    keys = steps.receive("population.residence", desk=at)
    accepted = steps.judge("population.residence", steps.stage("population.residence", keys, at), at)
    if accepted:
        steps.commit("population.residence", accepted, at)
    assert not (troubles := steps.report("population.residence", keys, at)), troubles
    return accepted


def _current(at) -> list[tuple]:
    state = steps.derive(at, at.plan("population.residence"))
    return duckdb.sql(f"SELECT id_number, name, status, _source, _batch, _file, _ordinal, _stale_since::VARCHAR "
                      f"FROM '{state.rows}' ORDER BY ALL").fetchall()


def test_two_cities_and_two_sources_live_side_by_side(snapshot, tmp_path):
    _send(snapshot, tmp_path, "2026-10-01", [_row(1), _row(2)], part="640100")
    _send(snapshot, tmp_path, "2026-10-01", [_row(3)], part="640200")
    _send(snapshot, tmp_path, "2026-10-01", [_row(1, "网格"), _row(4)], part="640100", source="grid")
    _send(snapshot, tmp_path, "2026-11-01", [_row(1)], part="640100")
    found = {r[0]: (r[2], r[3]) for r in _current(snapshot)}
    assert found == {resident_id(1): ("有效", "police"), resident_id(3): ("有效", "police"), resident_id(4): ("有效", "grid")}
    facts = steps.derive(snapshot, snapshot.plan("population.residence")).facts
    assert facts["disagreements"] == {"status": 1}


def test_five_batches_in_every_order_end_alike(tmp_path):
    """Late, corrected, deleting, re-run and duplicate batches: 120 orders would take minutes, so one of every first arrival is run."""
    batches = [
        ("2026-09-01", [_row(1, "甲"), _row(2, "甲"), _row(3, "甲")], {"sequence": 1, "revision": 1}),
        ("2026-10-01", [_row(1, "乙"), _row(4, "乙")], {"sequence": 1, "revision": 1}),
        ("2026-10-01", [_row(1, "丙"), _row(5, "丙")], {"sequence": 1, "revision": 2}),
        ("2026-11-01", [_row(2, "", "D"), _row(3, "丁")], {"sequence": 1, "revision": 1}),
        ("2026-09-01", [_row(1, "甲"), _row(2, "甲"), _row(3, "甲")], {"sequence": 1, "revision": 1}),
    ]
    results = set()
    for n, order in enumerate(itertools.islice(itertools.permutations(range(5)), 0, None, 24)):
        root = tmp_path / str(n)
        at = desk(root, project(root / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))
        for i in order:
            date, rows, options = batches[i]
            _send(at, root, date, rows, **options)
        results.add(tuple(_current(at)))
    assert len(results) == 1
    assert [(r[0], r[2]) for r in results.pop()] == [
        (resident_id(1), "丙"), (resident_id(3), "丁"), (resident_id(5), "丙")]


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
    at = desk(tmp_path, project(tmp_path / "project", population__residence=contract))
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
    steps.submit("population.residence", [file], "police", "2026-11-01", desk=upsert)
    keys = steps.receive("population.residence", desk=upsert)
    steps.commit("population.residence", steps.judge("population.residence", steps.stage("population.residence", keys, upsert), upsert), upsert)
    rows = steps.derive(upsert, upsert.plan("population.residence")).rows
    assert duckdb.sql(f"SELECT landlord FROM '{rows}' ORDER BY id_number").fetchall() == [(None,), ("某公司",)]
