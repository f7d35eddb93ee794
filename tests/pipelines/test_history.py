"""Histories of attributes: on every day the history says what `current` would have said, had the lake ended on that day.

Row versions are made by hand in base (`segment`), so that many random months cost little; `current.derive` over the batches up to a day is the
independent answer. The last tests go through the real steps.
"""
from __future__ import annotations

import json
import random
from datetime import date, timedelta

import duckdb
import pytest

from pipelines import base, compiler, current, history, keys, release, steps
from pipelines.compiler import digest
from pipelines.contract import dataset
from pipelines.segments import State, Version
from pipelines.settings import WrongUse
from pipelines.sql import connect, name, names, text
from tests.pipelines.test_release import slim
from tests.support import HEADER, RESIDENCE, desk, open_gate, resident_id, small_project, write_csv

DATASET = "population.residence"
DAYS = [f"2026-{month:02d}-01" for month in (5, 6, 7, 8, 9)]
FOLLOWED = ("birth_year", "region_code", "status")


def contract(load: str) -> str:
    return RESIDENCE.replace("- {property: load, value: LOAD}", f"- {{property: load, value: {load}}}\n      - {{property: history, value: true}}")


class World:
    """A lake with one dataset of two sources (police before grid) and two parts."""

    def __init__(self, root, load: str):
        self.desk = desk(root, slim(small_project(root / "project", population__residence=contract(load))))
        self.plan = compiler.plan(dataset(DATASET, self.desk.project), ())
        self.segments: dict[str, Version] = {}
        self.quarantine: dict[str, object] = {}

    def key(self, con, number: int) -> str:
        return con.execute(f"SELECT {self._key()} FROM (SELECT {text(resident_id(number))} AS id_number)").fetchone()[0]

    def _key(self) -> str:
        return next(digest(kind, [name(c)]) for c, _, kind in self.plan.pseudonyms if c == "id_number")

    def segment(self, batch: str, rows: list[dict], rejected: list[int] = (), revision: int = 1) -> None:
        """Put the accepted rows of a batch into base, and its rejected numbers into quarantine."""
        file = self.desk.lake.base / DATASET / "data" / f"{batch}~r{revision}" / "rows.parquet"
        file.parent.mkdir(parents=True)
        with connect() as con:
            keys.install(con, keys.pseudonym_key(self.desk.lake))
            declared = [(c.name, self.plan.type(c.name).physical) for c in self.plan.dataset.columns] + [("_op", "VARCHAR")]
            con.execute(f"CREATE TABLE given ({', '.join(f'{name(n)} {t}' for n, t in declared)})")
            con.executemany(f"INSERT INTO given ({names(rows[0])}) VALUES ({', '.join('?' * len(rows[0]))})", [list(row.values()) for row in rows])
            made = {p: digest(kind, [name(c)]) for c, p, kind in self.plan.pseudonyms} | {"_key": self._key(), "_batch": text(batch), "_file": "1", "_ordinal": "rowid + 1"}
            listed = ", ".join(f"({made.get(n, name(n))})::{t} AS {name(n)}" for n, t in self.plan.physical())
            con.execute(f"COPY (SELECT {listed} FROM given) TO {text(file)} (FORMAT parquet)")
            if rejected:
                held = self.desk.lake.quarantine / DATASET / f"{batch}~r{revision}.parquet"
                held.parent.mkdir(parents=True, exist_ok=True)
                bad = ", ".join(f"({text(resident_id(n))})" for n in rejected)
                con.execute(f"COPY (SELECT {self._key()} AS _key, 'i' AS _identity, 1 AS _file, 0::BIGINT AS _ordinal, ['x'] AS rules, NULL::VARCHAR AS region "
                            f"FROM (VALUES {bad}) t(id_number)) TO {text(held)} (FORMAT parquet)")
                self.quarantine[batch] = held
        self.segments[batch] = Version(batch, (str(file),), len(rows), ((batch, revision),))

    def derived(self, until: str = "9999") -> current.Current:
        held = {b: v for b, v in self.segments.items() if b.split("~")[3] <= until}
        return current.derive(self.desk.lake, self.plan, State(None, held), {b: q for b, q in self.quarantine.items() if b in held})

    def publish(self):
        return release.publish(self.desk.lake, self.desk.project, {DATASET: self.plan}, {DATASET: self.derived()}, self.desk.ledger, "test")

    def ask(self, sql: str):
        with duckdb.connect(str(self.desk.lake.database), read_only=True) as con:
            return con.execute(sql).fetchall()

    def on(self, day: str) -> dict:
        """(person, attribute) → value on a day, by the history."""
        return {(p, a): v for p, a, v in self.ask(f"SELECT person_id, attribute, value FROM {DATASET}_history WHERE valid_from <= DATE '{day}' "
                                                  f"AND (valid_to IS NULL OR valid_to >= DATE '{day}')")}

    def by_current(self, day: str) -> dict:
        """The same by what `current` makes of the batches up to that day."""
        rows = duckdb.execute(f"SELECT person_id, year(birth_date)::VARCHAR, region_code, status FROM '{self.derived(day).rows}'").fetchall()
        return {(row[0], a): v for row in rows for a, v in zip(FOLLOWED, row[1:]) if v is not None}


def months(world: World, chance: random.Random) -> None:
    """Five months of random submissions: moves between cities, gaps, deletions, rejected rows, two submissions on a day."""
    for day in DAYS:
        for source, part in (("police", "640100"), ("police", "640200"), ("grid", "640100")):
            for sequence in (1, 2) if chance.random() < 0.2 else (1,):
                if chance.random() < 0.15:
                    continue
                numbers = [n for n in range(1, 41) if chance.random() < 0.5]
                rows = [{"id_number": resident_id(n), "name": "赵", "birth_date": "1990-01-01" if chance.random() < 0.9 else "1991-01-01",
                         "region_code": chance.choice(["640104", "640105"]), "status": chance.choice(["甲", "乙", None]),
                         "_op": "D" if world.plan.dataset.load == "upsert" and chance.random() < 0.15 else "U"} for n in numbers]
                rejected = [n for n in range(1, 41) if n not in numbers and chance.random() < 0.15]
                world.segment(f"{DATASET}~{source}~{part}~{day}~{sequence}", rows, rejected)


@pytest.mark.parametrize("load", ["snapshot", "upsert"])
def test_on_every_day_the_history_is_what_current_was(tmp_path, load):
    world = World(tmp_path, load)
    months(world, random.Random(7))
    world.publish()
    for day in DAYS:
        assert world.on(day) == world.by_current(day), day
        tomorrow = (date.fromisoformat(day) + timedelta(days=9)).isoformat()
        assert world.on(tomorrow) == world.by_current(day), "a value holds until the next submission"
    assert world.on("2026-04-30") == {}
    overlaps = world.ask(f"SELECT count(*) FROM {DATASET}_history a JOIN {DATASET}_history b ON a.person_id = b.person_id AND a.attribute = b.attribute "
                         "AND a.valid_from < b.valid_from AND (a.valid_to IS NULL OR a.valid_to >= b.valid_from)")
    assert overlaps == [(0,)]
    needless = world.ask(f"SELECT count(*) FROM {DATASET}_history a JOIN {DATASET}_history b ON a.person_id = b.person_id AND a.attribute = b.attribute "
                         "AND a.value = b.value AND a.valid_to + 1 = b.valid_from")
    assert needless == [(0,)], "one value without a gap is one row"


def row(number: int, region: str, status: str = "甲", op: str = "U") -> dict:
    return {"id_number": resident_id(number), "name": "赵", "birth_date": "1990-01-01", "region_code": region, "status": status, "_op": op}


def test_a_history_by_hand(tmp_path):
    world = World(tmp_path, "upsert")
    world.segment(f"{DATASET}~grid~640100~2026-05-01~1", [row(1, "640105")])
    world.segment(f"{DATASET}~police~640100~2026-06-01~1", [row(1, "640104")])
    world.segment(f"{DATASET}~grid~640100~2026-07-01~1", [row(1, "640106", "乙")])
    world.segment(f"{DATASET}~police~640100~2026-08-01~1", [row(1, "640104", op="D")])
    world.publish()
    assert world.ask(f"SELECT attribute, value, valid_from::VARCHAR, valid_to::VARCHAR, source FROM {DATASET}_history WHERE attribute <> 'birth_year' ORDER BY 1, 3") == [
        ("region_code", "640105", "2026-05-01", "2026-05-31", "grid"), ("region_code", "640104", "2026-06-01", "2026-07-31", "police"),
        ("region_code", "640106", "2026-08-01", None, "grid"), ("status", "甲", "2026-05-01", "2026-07-31", "grid"), ("status", "乙", "2026-08-01", None, "grid")]
    assert world.ask(f"SELECT value, batch FROM {DATASET}_history WHERE attribute = 'birth_year'") == [("1990", f"{DATASET}~grid~640100~2026-05-01~1")]


def test_a_release_writes_the_versions_of_new_batches_only(tmp_path):
    world = World(tmp_path, "snapshot")
    world.segment(f"{DATASET}~police~640100~2026-05-01~1", [row(1, "640104")])
    world.publish()
    first = {p: p.stat().st_mtime_ns for p in world.desk.lake.releases.glob(f"data/{DATASET}_versions/*/rows.parquet")}
    world.segment(f"{DATASET}~police~640100~2026-06-01~1", [row(1, "640105")])
    world.publish()
    second = {p: p.stat().st_mtime_ns for p in world.desk.lake.releases.glob(f"data/{DATASET}_versions/*/rows.parquet")}
    assert len(first) == 1 and len(second) == 2 and first.items() <= second.items()
    assert world.publish() is None


def test_a_deletion_shows_no_value_and_hidden_columns_are_in_no_file(tmp_path):
    world = World(tmp_path, "upsert")
    world.segment(f"{DATASET}~police~640100~2026-05-01~1", [row(1, "640104"), row(2, "640105", "丙丙", "D")])
    world.publish()
    content = b"".join(p.read_bytes() for p in world.desk.lake.releases.glob(f"data/{DATASET}_versions/*/rows.parquet"))
    found = duckdb.execute(f"FROM '{world.desk.lake.releases}/data/{DATASET}_versions/*/rows.parquet'")
    columns = [c[0] for c in found.description]
    assert columns == ["person_id", "birth_year", "region_code", "status", "_op", "_batch", "_file", "_ordinal"]
    assert sorted(r[4] for r in found.fetchall()) == ["D", "U"] and "丙丙".encode() not in content and resident_id(1).encode() not in content


@pytest.mark.parametrize(("old", "new"), [("value: upsert}", "value: append}"), ("history, value: true}", "history, value: true}\n      - {property: on_reject, value: drop}"),
                                          ("history, value: true}", "history, value: true}\n      - {property: publish_when, value: status = '甲'}")])
def test_a_dataset_without_a_history_is_refused(tmp_path, old, new):
    made = slim(small_project(tmp_path / "project", population__residence=contract("upsert").replace(old, new)))
    with pytest.raises(WrongUse, match="history needs load: upsert"):
        history.judge(compiler.plan(dataset(DATASET, made), ()))


def test_a_column_that_is_masked_in_some_rows_has_no_history(tmp_path):
    text_ = contract("upsert").replace("semanticType: text, classification: internal}",
                                       "semanticType: text, classification: internal, customProperties: [{property: classified, value: {when: \"region_code = '640104'\", then: personal}}]}")
    made = slim(small_project(tmp_path / "project", population__residence=text_))
    assert [c.name for c in history.attributes(compiler.plan(dataset(DATASET, made), ()))] == ["birth_year", "region_code"]


def send(at, day: str, rows: list[tuple], **options) -> None:
    file = write_csv(at.lake.home.parent / f"out/{day}-{len(rows)}-{options}/640100.csv", HEADER, rows)
    steps.submit(DATASET, [file], "police", day, desk=at, **options)
    steps.commit(DATASET, steps.judge(DATASET, steps.stage(DATASET, steps.receive(DATASET, desk=at), at), at), at)


def test_late_repeated_and_corrected_batches_give_the_same_history(tmp_path, monkeypatch):
    """Two lakes with one key: months in order, and the last first, one month sent twice and one corrected."""
    open_gate(monkeypatch)
    monkeypatch.setenv("LAKE_PSEUDONYM_KEY", "ab" * 32)

    def month(number: int, status: str) -> tuple[str, list[tuple]]:
        return f"2026-{number:02d}-01", [(resident_id(n), "赵一", "1990-01-01", "640104", f"{status}{n}", "") for n in range(1, 4)]

    found = []
    for where, sends in (("ordered", [(7, "a", {}), (8, "b", {}), (9, "c", {})]), ("late", [(9, "c", {}), (7, "wrong", {}), (8, "b", {}), (7, "a", {"correct": True}), (8, "b", {})])):
        at = desk(tmp_path / where, small_project(tmp_path / where / "project", population__residence=contract("upsert")))
        for number, status, options in sends:
            send(at, *month(number, status), **options)
        steps.release(at)
        with duckdb.connect(str(at.lake.database), read_only=True) as con:
            found.append(con.execute(f"SELECT person_id, attribute, value, valid_from, valid_to, batch FROM {DATASET}_history ORDER BY ALL").fetchall())
    assert found[0] == found[1] and len(found[0]) == 3 * (3 + 2)
    assert not [v for _, _, v, *_ in found[1] if "wrong" in v]
    state = base.state(at.lake, at.plan(DATASET))
    assert json.loads(json.dumps(sorted(state.batches.values()))) == [1, 1, 2]
