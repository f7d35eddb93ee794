"""What changed between two releases: the view, the macro and the command against a comparison made in Python over the published rows.

The lake is that of the release tests: residents (told by a pseudonym) and notices (told by `_key`).
"""
from __future__ import annotations

import random

import duckdb
import pytest

from pipelines import changes, compiler, release
from pipelines.contract import dataset
from pipelines.settings import WrongUse
from tests.pipelines.test_release import NOTICES, World
from tests.states import state
from tests.support import resident_id

RESIDENT, NOTICE = "population.resident", "credit.notice"


def people(seed: int) -> list[dict]:
    """Up to 60 residents; between two seeds some come, go, move, or only get another hidden value."""
    chance = random.Random(seed)
    return [{"id_number": resident_id(n), "name": f"赵{n}", "sex_code": "1" if chance.random() < 0.9 else "2", "birth_date": "1990-01-01",
             "region_code": chance.choice(["640104", "640104", "640105"]), "phone": f"1390000{chance.randrange(10_000):04d}"}
            for n in range(1, 61) if chance.random() < 0.8]


def publish(world: World, seed: int) -> None:
    world.states[RESIDENT] = state(world.lake, world.plans[RESIDENT], people(seed), f"v{seed}", f"2026-{seed:02d}-01")
    world.publish()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Four releases: residents change each time, notices never."""
    made = World(tmp_path_factory.mktemp("changes"))
    for seed in (8, 9, 10, 11):
        publish(made, seed)
    return made


def own(world: World, number: int):
    return release.folder(world.lake, number) / "lake.duckdb"


def rows(world: World, number: int, view: str = RESIDENT, key: str = "person_id") -> dict[str, dict]:
    with duckdb.connect(str(own(world, number)), read_only=True) as con:
        found = con.execute(f"FROM {view}")
        columns = [c[0] for c in found.description]
        listed = [dict(zip(columns, row)) for row in found.fetchall()]
    return {row[key]: row for row in listed}


def by_hand(world: World, first: int, last: int) -> dict[str, tuple]:
    """Key → (change, columns that differ), compared in Python."""
    before, after = rows(world, first), rows(world, last)
    found = {k: ("inserted", None) for k in after.keys() - before.keys()} | {k: ("deleted", None) for k in before.keys() - after.keys()}
    for key in before.keys() & after.keys():
        differ = [c for c in after[key] if c != "_batch" and before[key][c] != after[key][c]]
        if differ:
            found[key] = ("updated", differ)
    return found


def as_found(listed: list[tuple]) -> dict[str, tuple]:
    assert len({key for key, _, _ in listed}) == len(listed)
    return {key: (change, columns) for key, change, columns in listed}


@pytest.mark.parametrize("number", [2, 3, 4])
def test_the_view_tells_what_changed_in_the_last_step(world, number):
    want = by_hand(world, number - 1, number)
    assert {"inserted", "updated", "deleted"} == {change for change, _ in want.values()}
    assert as_found(world.rows("SELECT person_id, _change, _changed_columns FROM population.resident_changes", own(world, number))) == want


def test_a_row_is_shown_as_it_is_and_as_it_was(world):
    before, after = rows(world, 3), rows(world, 4)
    found = world.rows("SELECT person_id, _change, region_code, _before.region_code, _before IS NULL FROM population.resident_changes", own(world, 4))
    for key, change, now, was, new in found:
        assert now == (before if change == "deleted" else after)[key]["region_code"]
        assert was == (None if change == "inserted" else before[key]["region_code"]) and new == (change == "inserted")


def test_a_change_that_masks_hide_is_none(world):
    """Telephones differ between all releases, and analysts do not have them."""
    assert all("phone" not in (columns or []) for _, columns in by_hand(world, 1, 4).values())
    found = changes.between(world.lake, release.kept(world.lake), RESIDENT)
    assert found["unchanged"] > 0 and "phone" not in found["columns"]


def test_without_a_release_before_everything_is_new(world):
    assert set(as_found(world.rows("SELECT person_id, _change, _changed_columns FROM population.resident_changes", own(world, 1))).values()) == {("inserted", None)}


def test_shared_files_are_not_read(world):
    sides = release.kept(world.lake)[-1]["changes"][NOTICE]
    assert (sides["before"], sides["after"]) == ([], [])
    assert "read_parquet" not in changes.select(sides, world.lake.releases)
    assert world.rows("SELECT count(*) FROM credit.notice_changes", own(world, 4)) == [(0,)]


@pytest.mark.parametrize(("first", "last"), [(1, 2), (1, 4), (2, 4), (4, 1)])
def test_the_command_counts_between_any_two(world, first, last):
    want = by_hand(world, first, last)
    found = changes.between(world.lake, release.kept(world.lake), RESIDENT, first, last)
    assert {k: found[k] for k in ("inserted", "updated", "deleted")} == {k: sum(c == k for c, _ in want.values()) for k in ("inserted", "updated", "deleted")}
    columns = [c for _, listed in want.values() for c in listed or ()]
    assert found["columns"] == {c: columns.count(c) for c in found["columns"]} and set(columns) == set(found["columns"])
    assert found["unchanged"] == len(rows(world, last)) - found["inserted"] - found["updated"] and found["key"] == "person_id"


def test_the_macro_compares_with_any_attached_release(world):
    with duckdb.connect(str(own(world, 4)), read_only=True) as con:
        con.execute(f"ATTACH '{own(world, 1)}' AS old (READ_ONLY)")
        assert as_found(con.execute("SELECT person_id, _change, _changed_columns FROM population.resident_since('old')").fetchall()) == by_hand(world, 1, 4)
        assert con.execute("SELECT count(*) FROM credit.notice_since('old')").fetchone() == (0,)
        words = con.execute("SELECT comment FROM duckdb_functions() WHERE function_name = 'resident_since'").fetchone()[0]
        assert "ATTACH" in words


def test_a_release_that_is_not_kept_is_refused_with_those_that_are(world):
    with pytest.raises(WrongUse, match="Release 9 is not kept. Kept releases: 1, 2, 3, 4"):
        changes.between(world.lake, release.kept(world.lake), RESIDENT, 9, 4)
    with pytest.raises(WrongUse, match="has no dataset 'population.nobody'. It has: credit.notice, population.resident"):
        changes.between(world.lake, release.kept(world.lake), "population.nobody", 1, 4)


def test_a_pruned_release_leaves_what_the_next_ones_changes_stand_on(tmp_path, monkeypatch):
    monkeypatch.setattr(release, "KEEP", 1)
    world = World(tmp_path)
    publish(world, 8)
    first = rows(world, 1)
    publish(world, 9)
    assert [m["release_id"] for m in release.kept(world.lake)] == [2]
    found = as_found(world.rows("SELECT person_id, _change, _changed_columns FROM population.resident_changes"))
    assert {k for k, (change, _) in found.items() if change == "deleted"} == first.keys() - rows(world, 2).keys()
    data = world.lake.releases / "data" / RESIDENT
    assert len(list(data.iterdir())) == 2
    publish(world, 10)
    listed = {(world.lake.releases / f["path"]).parent for f in changes.listed(release.kept(world.lake)[0])}
    assert len(list(data.iterdir())) == 2 and set(data.iterdir()) == {p for p in listed if p.parent == data}
    with pytest.raises(WrongUse, match="Release 2 is not kept"):
        changes.between(world.lake, release.kept(world.lake), RESIDENT, 2, 3)


def test_changes_are_told_against_the_release_that_was_shown(tmp_path):
    """After a rollback analysts saw the earlier release: that is what the next one is compared with."""
    world = World(tmp_path)
    publish(world, 8)
    publish(world, 9)
    release.rollback(world.lake, world.desk.project, world.desk.ledger, 1)
    publish(world, 10)
    assert release.kept(world.lake)[-1]["changes"][RESIDENT]["from"] == 1
    assert as_found(world.rows("SELECT person_id, _change, _changed_columns FROM population.resident_changes")) == by_hand(world, 1, 3)


def test_a_column_that_came_or_went_is_told_and_not_compared(tmp_path):
    world = World(tmp_path)
    publish(world, 8)
    path = world.desk.project.contracts / "population" / "resident.yaml"
    given = path.read_text("utf-8")
    assert given.count("name: sex_code") == 1
    path.write_text(given.replace("name: sex_code, businessName: 性别", "name: gender_code, businessName: 性别"), "utf-8")
    again = World.__new__(World)
    again.desk = world.desk
    again.plans = {d: compiler.plan(dataset(d, world.desk.project), ()) for d in world.plans}
    moved = [{("gender_code" if k == "sex_code" else k): v for k, v in row.items()} for row in people(8)]
    again.states = {NOTICE: state(world.lake, again.plans[NOTICE], NOTICES), RESIDENT: state(world.lake, again.plans[RESIDENT], moved, "v8b", "2026-09-01")}
    again.publish()
    assert world.rows("SELECT count(*) FROM population.resident_changes") == [(0,)]
    comment = world.rows("SELECT comment FROM duckdb_views() WHERE view_name = 'resident_changes'")[0][0]
    assert "新增字段 new columns: gender_code" in comment and "取消字段 columns that went: sex_code" in comment
    with duckdb.connect(str(world.lake.database), read_only=True) as con:
        con.execute(f"ATTACH '{own(world, 1)}' AS old (READ_ONLY)")
        found = con.execute("SELECT DISTINCT _change, _changed_columns FROM population.resident_since('old')").fetchall()
    assert found == [("updated", ["gender_code"])], "the macro sees an absent column as empty"
