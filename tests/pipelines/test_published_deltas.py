"""Large datasets are published as a first part and deltas: views show what the whole would show, changes too, and a withdrawal reaches every part.

Every change is a delta here, however small. The answer is the masked SELECT over the whole derived in a lake of its own, or a comparison in Python.
"""
from __future__ import annotations

import random
from contextlib import closing

import duckdb
import pytest

from pipelines import changes, current, durable, keys, layout, masks, published, published_deltas, release, withdrawal
from pipelines.semantics import reference
from pipelines.settings import Lake
from pipelines.sql import connect
from tests.pipelines import test_current
from tests.pipelines.test_current import Arrivals, submissions
from tests.pipelines.test_history import DATASET

eager = test_current.eager
TABLE = f"SELECT * FROM {DATASET} ORDER BY ALL"


@pytest.fixture(autouse=True)
def large(eager, monkeypatch):
    for key, value in (("LARGE", 1), ("RANGE", 8), ("ROW_GROUP", 2_048)):
        monkeypatch.setattr(layout, key, value)


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """A connection with the macros that masks use."""
    root = tmp_path_factory.mktemp("tools")
    made = Arrivals(root)
    with closing(connect()) as con:
        reference.ready(con, made.world.desk.project, Lake.open(root / "apart").staging)
        yield con


def expected(lake: Arrivals, con) -> list[tuple]:
    """The masked rows of the whole."""
    keys.install(con, keys.pseudonym_key(lake.world.desk.lake))
    engine = published.Engine(lake.world.desk.lake, lake.world.desk.project, withdrawal.withdrawn(lake.world.desk.ledger))
    made = published._masked(engine, lake.world.plan, masks.published(lake.world.plan), lake.whole())
    return con.execute(f"{made.delta.replace('{rows}', lake.whole().relation)} ORDER BY ALL").fetchall()


def by_person(rows: list[tuple], columns: list[str]) -> dict:
    """person → the row's values by column, without `_batch`."""
    told = [{c: v for c, v in zip(columns, row) if c != "_batch"} for row in rows]
    return {row["person_id"]: row for row in told}


def compared(before: dict, after: dict) -> dict:
    """person → (kind, columns that differ)."""
    found = {p: ("inserted", None) for p in after.keys() - before.keys()} | {p: ("deleted", None) for p in before.keys() - after.keys()}
    for person in after.keys() & before.keys():
        differ = [c for c in after[person] if after[person][c] != before[person][c]]
        if differ:
            found[person] = ("updated", differ)
    return found


def parts_of(lake: Arrivals) -> list[int]:
    """How many files of rows and of positions each kept release lists."""
    return [(len(r["files"]), len(r["superseded"])) for r in (m["relations"][DATASET] for m in release.kept(lake.world.desk.lake))]


def columns_of(lake: Arrivals) -> list[str]:
    return [c[0] for c in lake.world.ask(f"DESCRIBE {DATASET}")]


@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=pytest.mark.long) for n in range(2, 6))])
def test_views_and_changes_are_those_of_the_whole(tmp_path, tools, seed):
    lake, before = Arrivals(tmp_path), {}
    chance = random.Random(seed)
    for n, submission in enumerate(submissions(chance, 6)):
        lake.take(*submission)
        if n and chance.random() < 0.3:
            lake.derived()      # two batches until the next release
            continue
        if lake.world.publish() is None:
            continue
        want = expected(lake, tools)
        assert lake.world.ask(TABLE) == want
        after = by_person(want, columns_of(lake))
        assert {p: (kind, differ) for p, kind, differ in lake.world.ask(f"SELECT person_id, _change, _changed_columns FROM {DATASET}_changes")} == compared(before, after)
        before = after
    kept = release.kept(lake.world.desk.lake)
    assert max(positions for _, positions in parts_of(lake)) >= 3, "deltas stand on deltas"
    told = changes.between(lake.world.desk.lake, kept, DATASET, kept[0]["release_id"], kept[-1]["release_id"])
    first = by_person(lake_rows(lake, kept[0]), columns_of(lake))
    kinds = [kind for kind, _ in compared(first, before).values()]
    assert [told[k] for k in ("inserted", "updated", "deleted")] == [kinds.count(k) for k in ("inserted", "updated", "deleted")]


def lake_rows(lake: Arrivals, manifest: dict) -> list[tuple]:
    with duckdb.connect(str(release.folder(lake.world.desk.lake, manifest["release_id"]) / "lake.duckdb"), read_only=True) as con:
        return con.execute(TABLE).fetchall()


def filled(root, seed: int = 3, releases: int = 4) -> Arrivals:
    lake = Arrivals(root)
    for submission in [s for s in submissions(random.Random(seed), 12) if s[1] == 1][:releases]:
        lake.take(*submission)
        lake.world.publish()
    return lake


def test_a_release_writes_the_delta_alone_and_nothing_a_mask_hides(tmp_path, tools):
    lake = filled(tmp_path)
    folders = sorted((lake.world.desk.lake.releases / "data" / DATASET).iterdir(), key=lambda f: f.stat().st_mtime_ns)
    assert [f.name.partition("+")[2] for f in folders] == ["", "1", "2", "3"]
    for folder in folders:
        for file in folder.glob("rows*.parquet"):
            shown = {c for c, *_ in duckdb.sql(f"DESCRIBE FROM '{file}'").fetchall()}
            assert masks.exposed(lake.world.plan, shown) == []
        assert {c for c, *_ in duckdb.sql(f"DESCRIBE FROM '{folder / 'superseded.parquet'}'").fetchall()} == {"file", "pos"}
    assert lake.world.publish() is None, "nothing changed"


def test_folded_parts_are_shown_by_the_next_release_and_the_version_is_the_same(tmp_path, tools):
    lake = filled(tmp_path)
    at, state = lake.world.desk, lake.derived()
    engine = published.Engine(at.lake, at.project)
    try:
        published.fold(engine, lake.world.plan, state)
    finally:
        engine.close()
    rows, before = lake.world.ask(TABLE), release.kept(at.lake)[-1]["relations"][DATASET]
    assert lake.world.publish()["written"] == []
    after = release.kept(at.lake)[-1]["relations"][DATASET]
    assert lake.world.ask(TABLE) == rows == expected(lake, tools) and before["version"] == after["version"]
    assert len(after["superseded"]) == 1 and after["superseded"][0]["rows"] == 0
    assert lake.world.ask(f"SELECT count(*) FROM {DATASET}_changes") == [(0,)]
    lake.take(*submissions(random.Random(77), 1)[0])
    lake.world.publish()
    assert len(release.kept(at.lake)[-1]["relations"][DATASET]["superseded"]) == 2 and lake.world.ask(TABLE) == expected(lake, tools)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("deadly", [2, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 3, 4, 5, 6, 8))])
def test_a_death_at_any_rename_leaves_the_old_release_or_the_new_one(tmp_path, tools, monkeypatch, deadly):
    lake = filled(tmp_path, releases=2)
    rows, real, steps_taken = lake.world.ask(TABLE), durable.replace, [0]
    lake.take(*submissions(random.Random(78), 1)[0])

    def move(source, target):
        steps_taken[0] += 1
        if steps_taken[0] == deadly:
            raise Killed
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "replace", move)
        try:
            lake.world.publish()
        except Killed:
            assert lake.world.ask(TABLE) in (rows, expected(lake, tools))
    lake.world.publish()
    assert lake.world.ask(TABLE) == expected(lake, tools)


def withdrawn(lake: Arrivals, person: str) -> None:
    """Enter a withdrawal and carry it out."""
    from pipelines import ledger_tables as tables
    from pipelines.ledger import now

    with lake.world.desk.ledger.transaction() as con:
        con.execute(tables.withdrawals.insert().values(dataset=DATASET, key=person, basis="法", document="1", withdrawn_at=now(), state=withdrawal.ENTERED, rows=0, releases=0))
    withdrawal.finish(lake.world.desk.lake, lake.world.desk.ledger)


def holding(lake: Arrivals, person: str) -> list[str]:
    """Files under releases/ that have a value."""
    return [f.name for f in lake.world.desk.lake.releases.rglob("*") if f.is_file() and person.encode() in f.read_bytes()]


@pytest.mark.parametrize("which", ["both", pytest.param("first part", marks=pytest.mark.long), pytest.param("delta", marks=pytest.mark.long)])
def test_a_withdrawal_empties_the_row_in_every_part_and_every_kept_release(tmp_path, tools, monkeypatch, which):
    lake = filled(tmp_path, seed=52)
    kept = release.kept(lake.world.desk.lake)
    shown = [dict(lake.world.ask(f"SELECT person_id, count(*) FROM read_parquet('{lake.world.desk.lake.releases / f['path']}') GROUP BY ALL"))
             for f in kept[-1]["relations"][DATASET]["files"]]
    first = {p for f, s in zip(kept[-1]["relations"][DATASET]["files"], shown) for p in s if "+" not in f["path"]}
    later = {p for f, s in zip(kept[-1]["relations"][DATASET]["files"], shown) for p in s if "+" in f["path"]}
    person = sorted({"first part": first - later, "delta": later - first, "both": first & later}[which])[0]
    before = [lake_rows(lake, m) for m in kept]
    withdrawn(lake, person)
    assert [lake_rows(lake, m) for m in kept] == [[r for r in rows if r[0] != person] for rows in before]
    assert all(r["rows"] == len([x for x in rows if x[0] != person]) for r, rows in zip((m["relations"][DATASET] for m in release.kept(lake.world.desk.lake)), before))
    parquet = [f for f in lake.world.desk.lake.releases.glob("data/**/*.parquet")]
    assert not [f for f in parquet if "person_id" in [c for c, *_ in duckdb.sql(f"DESCRIBE FROM '{f}'").fetchall()]
                and duckdb.sql(f"SELECT count(*) FROM '{f}' WHERE person_id = '{person}'").fetchone()[0]]
    assert withdrawal.left(lake.world.desk.lake, lake.world.desk.ledger, release.kept(lake.world.desk.lake), set()) == []
    changed = lake.world.ask(f"SELECT count(*) FROM {DATASET}_changes WHERE person_id IS NULL OR person_id = '{person}'")
    assert changed == [(0,)], "nobody sees an emptied row"
    lake.take(*submissions(random.Random(79), 1)[0])
    release.publish(lake.world.desk.lake, lake.world.desk.project, {DATASET: lake.world.plan}, {DATASET: lake.derived()}, lake.world.desk.ledger, "test",
                    withdrawal.withdrawn(lake.world.desk.ledger))
    assert [r for r in lake.world.ask(TABLE) if r[0] == person] == [] and lake.world.ask(TABLE) == expected(lake, tools)


def test_a_chain_whose_part_is_gone_is_none(tmp_path):
    lake = filled(tmp_path)
    home = lake.world.desk.lake.releases / "data" / DATASET
    last = max(home.iterdir(), key=lambda f: len(published_deltas.read(f).folders))
    assert len(published_deltas.read(last).folders) == 4
    (published_deltas.read(last).folders[1][0] / "facts.json").unlink()
    assert published_deltas.read(last) is None and current.heavy(lake.derived()) in (True, False)
