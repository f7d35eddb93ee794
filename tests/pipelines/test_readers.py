"""Readers in processes of their own, while releases, rollbacks and the removal of old releases happen: no error, one release a query.

Each release r holds exactly r rows in both datasets, and every row says r; whoever sees two numbers saw two releases. A short form runs
always, the five minutes of twenty readers with `make test-long`.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import duckdb
import pytest

from pipelines import release
from pipelines.settings import Lake
from tests.pipelines.test_release import World
from tests.states import state
from tests.support import REPOSITORY, resident_id

# What a reader runs: sessions of random length, each a connection of its own; one JSON line at the end.
READER = """
import json, os, random, sys, time, duckdb
path, stop, seed, longest = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
MIX = [
    "SELECT (SELECT count(*) FROM population.resident), (SELECT count(*) FROM credit.notice)",
    "SELECT max(r.note), min(n.content), count(*) // count(DISTINCT n.notice_no) FROM population.resident r CROSS JOIN credit.notice n",
    "SELECT (SELECT any_value(note) FROM population.resident WHERE person_id >= 'a'), (SELECT count(*) FROM credit.notice WHERE kind = '1')",
    "SELECT (SELECT count(DISTINCT person_id) FROM population.resident), (SELECT sum(rows) // 2 FROM governance.datasets), (SELECT max(release_id) FROM governance.releases WHERE state = 'published')",
    "SELECT (SELECT sum(c) FROM (SELECT region_code, count(*) AS c FROM population.resident GROUP BY ALL)), (SELECT max(content) FROM credit.notice)",
]
dice, queries, sessions, seen, moved, errors = random.Random(seed), 0, 0, set(), 0, []
while not os.path.exists(stop):
    try:
        with duckdb.connect(path, read_only=True) as con:
            con.execute("SET threads = 1")
            before, mine, until = os.stat(path).st_ino, set(), time.time() + dice.uniform(0, longest)
            sessions += 1
            while True:
                sql = dice.choice(MIX)
                found = {int(v) for v in con.execute(sql).fetchone() if v is not None}
                if len(found) != 1:
                    errors.append(f"{sorted(found)}: {sql}")
                mine |= found
                queries += 1
                time.sleep(dice.uniform(0, 0.2))
                if time.time() > until or os.path.exists(stop):
                    break
            if len(mine) != 1:
                errors.append(f"a session saw releases {sorted(mine)}")
            seen |= mine
            moved += os.stat(path).st_ino != before
    except Exception as error:
        errors.append(f"{type(error).__name__}: {error}"[:300])
print(json.dumps({"queries": queries, "sessions": sessions, "seen": sorted(seen), "moved": moved, "errors": errors[:5], "wrong": len(errors)}))
"""


class Numbered(World):
    """Release r shows r residents and r notices, each of which says r."""

    def next(self):
        n = max((m["release_id"] for m in release.kept(self.lake)), default=0) + 1
        for dataset, rows in (("population.resident", [{"id_number": resident_id(i + 1), "region_code": f"64010{4 + i % 3}", "note": str(n)} for i in range(n)]),
                              ("credit.notice", [{"notice_no": f"{i}号", "kind": "1", "content": str(n)} for i in range(n)])):
            self.states[dataset] = state(self.lake, self.plans[dataset], rows, f"n{n}", "2026-11-01")
        assert self.publish()["release_id"] == n

    def back(self):
        release.rollback(self.lake, self.desk.project, self.desk.ledger)


def watched(world, tmp_path, readers, seconds, releases, rollbacks, longest):
    """Publish and roll back at even times while readers read; returns what each reader saw."""
    stop, script = tmp_path / "stop", tmp_path / "reader.py"
    script.write_text(READER)
    world.next()
    started = [subprocess.Popen([sys.executable, str(script), str(world.lake.database), str(stop), str(n), str(longest)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
               for n in range(readers)]
    try:
        begun, back = time.time(), {round((k + 1) * releases / (rollbacks + 1)) for k in range(rollbacks)}
        for n in range(releases):
            time.sleep(max(0.0, begun + n * seconds / releases - time.time()))
            world.next()
            if n + 1 in back:
                world.back()
        time.sleep(max(0.0, begun + seconds - time.time()))
    finally:
        stop.touch()
        found = [json.loads(one.communicate(timeout=60)[0] or '{"wrong": "died"}') for one in started]
    return found


def judge(found, readers, releases):
    assert [one for one in found if one["wrong"]] == []
    assert len(found) == readers and all(one["queries"] for one in found)
    assert sum(one["moved"] for one in found) > 0, "sessions were open while the file was exchanged"
    assert len({n for one in found for n in one["seen"]}) >= min(releases, 4), "readers saw releases come"


def test_four_readers_see_one_release_each_while_five_appear_and_one_goes_back(tmp_path):
    judge(watched(Numbered(tmp_path), tmp_path, readers=4, seconds=8, releases=5, rollbacks=1, longest=3), 4, 5)


@pytest.mark.long
def test_twenty_readers_for_five_minutes_over_fifty_releases_and_three_rollbacks(tmp_path, monkeypatch):
    monkeypatch.setenv("LAKE_KEEP_HOURS", "0.02")      # 72 s: old releases are removed meanwhile, never under a session of 45 s
    found = watched(Numbered(tmp_path), tmp_path, readers=20, seconds=300, releases=50, rollbacks=3, longest=45)
    judge(found, 20, 50)
    assert len(release.kept(Lake.open(tmp_path / "lake"))) < 51, "old ones were removed while sessions were open"
    print(f"{sum(one['queries'] for one in found):,} queries in {sum(one['sessions'] for one in found):,} sessions, {sum(one['moved'] for one in found)} of them over a change")


def test_a_session_outlives_more_releases_than_are_kept(tmp_path, monkeypatch):
    """Releases in quick succession must not take the files from under a session of the same day."""
    monkeypatch.setattr(release, "KEEP", 2)
    monkeypatch.setenv("LAKE_KEEP_HOURS", "12")
    world = Numbered(tmp_path)
    world.next()
    with duckdb.connect(str(world.lake.database), read_only=True) as session:
        for _ in range(4):
            world.next()
        assert session.execute("SELECT (SELECT count(*) FROM population.resident), (SELECT count(*) FROM credit.notice)").fetchone() == (1, 1)


def test_a_session_on_a_removed_release_gets_an_error_and_never_other_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(release, "KEEP", 1)
    monkeypatch.setenv("LAKE_KEEP_HOURS", "0")
    world = Numbered(tmp_path)
    world.next()
    with duckdb.connect(str(world.lake.database), read_only=True) as session:
        world.next()
        world.next()
        with pytest.raises(duckdb.IOException, match="No files found"):
            session.execute("SELECT count(*) FROM population.resident")
        assert session.execute("SELECT view_name FROM duckdb_views() WHERE schema_name = 'population' ORDER BY ALL").fetchall() == [("resident",), ("resident_changes",)]
    assert world.shown() == 3
    assert os.listdir(world.lake.releases / "data" / "population.resident") and [m["release_id"] for m in release.kept(world.lake)] == [3]
