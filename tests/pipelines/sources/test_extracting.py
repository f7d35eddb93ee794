"""What is extracted is what the table holds, and then exactly what changed."""
from __future__ import annotations

import datetime as dt
import json
import random

import duckdb
import pytest
import sqlalchemy as sa

from pipelines import steps
from pipelines.desk import Desk
from pipelines.settings import WrongUse
from pipelines.status import why
from tests.extraction import DATASET, Bench, create, insert
from tests.support import resident_id

WHEN = dt.datetime(2026, 11, 1, 8, 0, 0)


def row(key: str, status: str = "在", when: dt.datetime | None = WHEN, region: str = "640104", name: str = "张三", birth="1990-01-02") -> tuple:
    return key, name, birth, region, status, when


def text(one: tuple) -> dict[str, str]:
    """A row as landing should hold it."""
    return dict(zip(("sfzh", "xm", "csrq", "qh", "zt"), ["" if c is None else str(c) for c in one]))


def test_the_first_extraction_is_everything_and_only_what_the_contract_knows(server, tmp_path, monkeypatch):
    create(server)
    rows = [row("a"), row("b", "引'号\"\t\n😀"), row("c", None, birth=None)]
    insert(server, rows)
    bench = Bench.make(server, tmp_path, monkeypatch)
    found = bench.extract()
    assert (found["outcome"], found["read"], found["changed"], found["deleted"], found["moments"]) == ("landed", 3, 3, 0, 1)
    assert bench.landed(found) == [text(r) | {"操作": "U"} for r in rows]
    said = json.loads(bench.manifest(found))
    assert said["columns_not_read"] == ["gxsj", "secret"] and said["mode"] == "compare" and len(said["snapshots"]) == 1
    assert bench.extract(bench.days[0])["outcome"] == "there"
    assert bench.extract()["outcome"] == "unchanged"


def test_changes_and_deletions(server, tmp_path, monkeypatch):
    create(server)
    insert(server, [row("a"), row("b"), row("c")])
    bench = Bench.make(server, tmp_path, monkeypatch)
    bench.extract()
    server.run("DELETE FROM residence WHERE sfzh = 'a'", "UPDATE residence SET zt = NULL WHERE sfzh = 'b'", "UPDATE residence SET sfzh = 'z' WHERE sfzh = 'c'")
    found = bench.extract()
    assert bench.landed(found) == [text(row("b", None)) | {"操作": "U"}, text(row("z")) | {"操作": "U"},
                                   *({"sfzh": k, "xm": "", "csrq": "", "qh": "", "zt": "", "操作": "D"} for k in ("a", "c"))]


WORDS = ("在", None, "", " ", "a'b", 'a"b', "a\\b", "a,b;c|d", "\t", "line\nline\r\n", "😀🀄", "NULL", "%s %(x)s", "ｆｕｌｌ", "\u200b")


class Model:
    """What the table holds, and what the lake should know of it, kept apart from the product."""

    def __init__(self, server, seed: int, composite: bool):
        self.server, self.random, self.composite = server, random.Random(seed), composite
        self.rows: dict[tuple, tuple] = {}
        self.deltas: list[dict] = []          # of each batch: key → row or None (deleted)
        self.held: set[int] = set()
        self.clock = WHEN

    def key(self, one: tuple) -> tuple:
        return (one[0], one[3]) if self.composite else (one[0],)

    def new(self, when: dt.datetime | None) -> tuple:
        r = self.random
        region = r.choice(["640104", "640105", "", "64'"]) if self.composite else "640104"
        return (f"{r.choice(['k', 'K', '键', chr(39), '😀'])}{r.randrange(60)}", r.choice(WORDS), r.choice([None, "1990-01-02", "2020-02-29"]), region, r.choice(WORDS), when)

    def edit(self, dated_back: bool) -> None:
        """Insert, change, delete and rename some rows, in the table and here."""
        r, before = self.random, dict(self.rows)
        for _ in range(r.randrange(0, 12)):
            self.clock += dt.timedelta(seconds=r.choice([0, 1, 60]))
            when = r.choice([self.clock, self.clock, None])
            one = self.new(self.clock - dt.timedelta(days=400) if dated_back and r.random() < 0.2 else when)
            if self.rows and r.random() < 0.7:
                key = r.choice(sorted(self.rows, key=repr))
                old = self.rows.pop(key)
                if r.random() < 0.3:
                    continue
                one = (*old[:4], r.choice(WORDS), when) if r.random() < 0.6 else one[:5] + (when,)
            if self.key(one) not in before or one[5] is None or one[5] > WHEN:
                self.rows[self.key(one)] = one
        for key in before.keys() - self.rows.keys():
            self._delete(before[key])
        for key, one in self.rows.items():
            if before.get(key) != one:
                self._delete(one)
                insert(self.server, [one])

    def _delete(self, one: tuple) -> None:
        with self.server.admin() as con:
            con.execute(sa.text("DELETE FROM residence WHERE sfzh = :k AND (:q = '' OR qh = :q2)"), {"k": one[0], "q": "x" if self.composite else "", "q2": one[3]})

    def known(self) -> dict:
        """What the batches that count left behind."""
        found: dict = {}
        for n, delta in enumerate(self.deltas):
            if n not in self.held:
                found |= delta
        return {k: v for k, v in found.items() if v is not None}

    def expected(self) -> dict:
        """What the next extraction has to bring."""
        known, now = self.known(), {k: text(v) for k, v in self.rows.items()}
        return {k: v for k, v in now.items() if known.get(k) != v} | {k: None for k in known.keys() - now.keys()}


@pytest.mark.parametrize(("mode", "composite", "seed"), [("compare", False, 1), ("compare", True, 2), ("watermark", False, 3), ("watermark", True, 4)])
def test_random_edits_bring_exactly_what_changed_whatever_was_held(server, tmp_path, monkeypatch, mode, composite, seed):
    create(server, "sfzh, qh" if composite else "sfzh")
    keys = {"updated_at": "gxsj", "overlap": 30} if mode == "watermark" else {}
    bench, model = Bench.make(server, tmp_path, monkeypatch, composite, extract=mode, range_rows=4, **keys), Model(server, seed, composite)
    for _ in range(12):
        model.edit(dated_back=mode == "watermark")
        if not model.rows:
            continue
        expected, found = model.expected(), bench.extract()
        assert (found["outcome"] == "landed") == bool(expected)
        if not expected:
            continue
        landed: dict = {}
        for one in bench.landed(found):
            op, cells = one.pop("操作"), one
            key = (one["sfzh"], one["qh"]) if composite else (one["sfzh"],)
            assert key not in landed, "a key came twice"
            landed[key] = cells if op == "U" else None
            assert op == "U" or not any(v for c, v in cells.items() if c not in ("sfzh", "qh")), "a deletion carries its key only"
        assert landed == expected
        model.deltas.append(landed)
        if len(model.deltas) > 1 and model.random.random() < 0.35:
            _hold(bench, model)
    assert len(model.deltas) > 6 and model.held


def _hold(bench: Bench, model: Model) -> None:
    """Hold one of the last batches, whose successors may be there already."""
    victim = model.random.choice(range(max(1, len(model.deltas) - 2), len(model.deltas)))
    model.held.add(victim)
    batches = sorted((m.batch_date, m.sequence, m.batch_id) for m in _manifests(bench.desk))
    bench.desk.ledger.update_batch(batches[victim][2], 1, state="held")


def _manifests(desk: Desk) -> list:
    from pipelines import landing

    return landing.batches(desk.lake, DATASET)


@pytest.mark.parametrize(("overlap", "seen"), [(30, True), (10, False)])
def test_what_was_committed_late_is_seen_within_the_overlap(server, tmp_path, monkeypatch, overlap, seen):
    create(server)
    insert(server, [row("a"), row("b", when=WHEN + dt.timedelta(seconds=20)), row("c", when=None)])
    bench = Bench.make(server, tmp_path, monkeypatch, extract="watermark", updated_at="gxsj", overlap=overlap)
    bench.extract()
    server.run("UPDATE residence SET zt = 'late' WHERE sfzh = 'a'")      # its gxsj stays 20 s below the watermark
    found = bench.extract()
    assert (found["outcome"], found["changed"]) == (("landed", 1) if seen else ("unchanged", 0))
    assert found["read"] == 3 + (3 if seen else 2), "the keys of all, and the rows from the watermark on"


def test_a_row_dated_in_the_future_hides_nothing(server, tmp_path, monkeypatch):
    create(server)
    insert(server, [row("a"), row("b", when=dt.datetime(9999, 12, 31))])
    bench = Bench.make(server, tmp_path, monkeypatch, extract="watermark", updated_at="gxsj")
    bench.extract()
    server.run("UPDATE residence SET zt = 'x', gxsj = '2026-11-02 00:00:00' WHERE sfzh = 'a'")
    found = bench.extract()
    assert [(r["sfzh"], r["zt"], r["操作"]) for r in bench.landed(found)] == [("a", "x", "U")]
    assert json.loads(bench.manifest(found))["watermark"]["high"][1].startswith("2026-11-02")


def test_a_watermark_of_days_or_numbers(server, tmp_path, monkeypatch):
    create(server)
    server.run("ALTER TABLE residence ADD seen_day DATE, ADD version INTEGER")
    insert(server, [row("a"), row("b")])
    server.run("UPDATE residence SET seen_day = '2026-11-01', version = 7")
    for n, column in enumerate(("seen_day", "version")):
        bench = Bench.make(server, tmp_path / column, monkeypatch, extract="watermark", updated_at=column, overlap=0)
        bench.extract()
        server.run(f"UPDATE residence SET zt = '{column}', seen_day = '2026-11-02', version = version + 1 WHERE sfzh = 'a'")
        assert [(r["sfzh"], r["zt"]) for r in bench.landed(bench.extract())] == [("a", column)], n
    bench.declare(extract="watermark", updated_at="version", overlap=5)
    with pytest.raises(WrongUse, match="overlap needs an updated_at that is a date or a time"):
        bench.extract()


def test_a_lost_cache_changes_nothing(server, tmp_path, monkeypatch):
    create(server)
    insert(server, [row("a"), row("b")])
    bench = Bench.make(server, tmp_path, monkeypatch)
    bench.extract()
    server.run("UPDATE residence SET zt = 'x' WHERE sfzh = 'a'")
    bench.extract()
    for cache in (bench.desk.lake.staging / ".extract").rglob("state-*.parquet"):
        assert cache.stat().st_mode & 0o077 == 0
        cache.unlink()
    server.run("DELETE FROM residence WHERE sfzh = 'b'")
    assert [(r["sfzh"], r["操作"]) for r in bench.landed(bench.extract())] == [("b", "D")]


@pytest.mark.parametrize("range_rows", [1, 3, 1000])
def test_ties_nulls_and_collations_lose_no_row(server, tmp_path, monkeypatch, range_rows):
    """A table is read by a column with many ties, rows without a value, and a collation in which other text is equal."""
    create(server)
    if server.dialect == "postgresql":
        server.run("CREATE COLLATION IF NOT EXISTS loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false)",
                   "ALTER TABLE residence ALTER COLUMN zt TYPE VARCHAR(200) COLLATE loose")
    else:
        server.run("ALTER TABLE residence MODIFY zt VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
    words = ["a", "A", "ä", "Á", "b", "B ", None, None, "", "在", "z"]
    rows = [row(f"k{n:03}", words[n % len(words)]) for n in range(90)]
    insert(server, rows)
    bench = Bench.make(server, tmp_path, monkeypatch, range_by="zt", range_rows=range_rows)
    landed = bench.landed(bench.extract())
    assert sorted(r["sfzh"] for r in landed) == [r[0] for r in rows]
    assert {r["sfzh"]: r["zt"] for r in landed} == {r[0]: r[4] or "" for r in rows}


def test_two_rows_of_one_key_are_one_thing(server, tmp_path, monkeypatch):
    """The contract's key need not be the table's: when one of its rows changes, all of them come."""
    create(server, "sfzh, qh")
    insert(server, [row("a", "1"), row("a", "2", region="640105"), row("b")])
    bench = Bench.make(server, tmp_path, monkeypatch)
    bench.extract()
    assert bench.extract()["outcome"] == "unchanged"
    server.run("UPDATE residence SET zt = '3' WHERE sfzh = 'a' AND qh = '640105'")
    assert sorted((r["sfzh"], r["zt"], r["操作"]) for r in bench.landed(bench.extract())) == [("a", "1", "U"), ("a", "3", "U")]
    server.run("DELETE FROM residence WHERE sfzh = 'a' AND qh = '640105'")
    assert [(r["sfzh"], r["zt"], r["操作"]) for r in bench.landed(bench.extract())] == [("a", "1", "U")]


def test_a_column_that_the_contract_learns_brings_every_row_again(server, tmp_path, monkeypatch):
    create(server)
    insert(server, [row("a"), row("b")])
    bench = Bench.make(server, tmp_path, monkeypatch)
    bench.extract()
    path = bench.desk.project.contracts / "population/residence.yaml"
    path.write_text(path.read_text("utf-8").rstrip() + "\n      - {name: note, businessName: 备注, description: Note, semanticType: text, classification: internal, "
                    "transformSourceObjects: [secret]}\n", encoding="utf-8")
    found = bench.extract()
    assert (found["changed"], found["deleted"]) == (2, 0)
    assert "secret" in bench.landed(found)[0]


def test_full_is_one_file_of_everything_and_again_is_its_correction(server, tmp_path, monkeypatch):
    create(server)
    insert(server, [row("a"), row("b")])
    bench = Bench.make(server, tmp_path, monkeypatch, extract="full", range_rows=1)
    first = bench.extract()
    assert bench.landed(first) == [text(row("a")), text(row("b"))]
    server.run("DELETE FROM residence WHERE sfzh = 'a'")
    assert bench.extract(bench.days[0])["outcome"] == "there"
    second = bench.extract(bench.days[0], again=True)
    assert (second["batch_id"], second["revision"]) == (first["batch_id"], 2)
    assert bench.landed(second) == [text(row("b"))]


def test_changes_read_again_the_same_day_are_the_next_sequence(server, tmp_path, monkeypatch):
    create(server)
    insert(server, [row("a")])
    bench = Bench.make(server, tmp_path, monkeypatch)
    bench.extract()
    insert(server, [row("b")])
    found = bench.extract(bench.days[0], again=True)
    assert found["batch_id"].endswith("~2") and [r["sfzh"] for r in bench.landed(found)] == ["b"]
    bench.extract("2026-11-20")
    with pytest.raises(WrongUse, match="no longer shows 2026-10-01"):
        insert(server, [row("c")])
        bench.extract("2026-10-01")


def test_an_emptied_table_deletes_nothing(server, tmp_path, monkeypatch):
    create(server)
    insert(server, [row("a"), row("b")])
    bench = Bench.make(server, tmp_path, monkeypatch)
    bench.extract()
    server.run("DELETE FROM residence")
    with pytest.raises(WrongUse, match="is empty, and 2 keys"):
        bench.extract()


def test_a_view_without_a_key_is_read_in_one_range(server, tmp_path, monkeypatch):
    create(server)
    insert(server, [row("a"), row("b")])
    server.run("DROP VIEW IF EXISTS seen", "CREATE VIEW seen AS SELECT sfzh, xm, qh, zt FROM residence")
    server.grant("seen")
    bench = Bench.make(server, tmp_path, monkeypatch, table="public.seen" if server.dialect == "postgresql" else "gov.seen", range_rows=1)
    found = bench.extract()
    assert (found["read"], found["ranges"]) == (2, 1)


def test_dirt_arrives_as_it_is(mariadb, tmp_path, monkeypatch):
    create(mariadb)
    mariadb.run("ALTER TABLE residence ADD amount DECIMAL(18,6), ADD bits BIT(8), ADD raw BLOB", "SET sql_mode = ''")
    with mariadb.admin() as con:
        con.exec_driver_sql("SET sql_mode = ''")
        con.exec_driver_sql("INSERT INTO residence (sfzh, xm, csrq, qh, zt) VALUES ('a', '张三', '0000-00-00', '640104', '2026-02-30')")
    bench = Bench.make(mariadb, tmp_path, monkeypatch)
    assert bench.landed(bench.extract()) == [text(row("a", "2026-02-30", birth="0000-00-00")) | {"操作": "U"}]


def test_extracted_accepted_published_is_the_table(server, tmp_path, monkeypatch):
    """End to end: after changes, deletions and a batch the gate holds, what is published is what the table shows."""
    create(server)
    people = {resident_id(n): row(resident_id(n), f"s{n}") for n in range(1, 41)}
    insert(server, list(people.values()))
    bench = Bench.make(server, tmp_path, monkeypatch)
    assert bench.extract()["outcome"] == "landed" and bench.ingest()
    server.run(f"DELETE FROM residence WHERE sfzh = '{resident_id(1)}'", f"UPDATE residence SET zt = 'new' WHERE sfzh = '{resident_id(2)}'")
    insert(server, [row(f"bad{n}") for n in range(20)])
    found = bench.extract()
    assert bench.ingest() == [] and bench.desk.ledger.batch(found["batch_id"])["state"] == "held"
    assert f"python -m pipelines extract {DATASET} --source office --batch-date {bench.days[-1]} --again" in why(found["batch_id"], bench.desk)["remedy"]
    server.run("DELETE FROM residence WHERE sfzh LIKE 'bad%%'")
    assert (lambda f: (f["changed"], f["deleted"]))(bench.extract()) == (1, 1), "what the held batch carried comes again"
    assert bench.ingest()
    assert steps.release(bench.desk)
    with server.admin() as con:
        table = {r[0]: r[1] for r in con.exec_driver_sql("SELECT sfzh, zt FROM residence")}
    restricted = duckdb.connect(str(bench.desk.lake.restricted), read_only=True)
    assert dict(restricted.execute("SELECT id_number, status FROM population.residence").fetchall()) == table
    published = duckdb.connect(str(bench.desk.lake.database), read_only=True)
    assert published.execute("SELECT count(*) FROM population.residence").fetchone()[0] == len(table) == 39
