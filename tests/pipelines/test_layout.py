"""How published rows lie: ranges of the key, inside them by division; Bloom filters; and a cut file lies like the one before."""
from __future__ import annotations

import duckdb
import pytest

from pipelines import compiler, keys, layout, published, withdrawal
from pipelines.contract import dataset
from pipelines.sql import connect
from tests.pipelines.test_release import RESIDENT, World
from tests.states import state
from tests.support import resident_id

BY_REGION = RESIDENT.replace("{property: load, value: upsert}", "{property: load, value: upsert}\n      - {property: region, value: region_code}")
PEOPLE = [{"id_number": resident_id(n % 999 + 1, birth=f"19{50 + n // 999}0101"), "region_code": f"64010{4 + n % 3}", "household_no": f"H{n // 3}"} for n in range(3_000)]


@pytest.fixture(scope="module")
def small():
    """Files of 300 rows count as large, with row groups of DuckDB's least size."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in (("ROW_GROUP", 2_048), ("LARGE", 300), ("RANGE", 1_000)):
            patch.setattr(layout, key, value)
        yield


@pytest.fixture(scope="module")
def world(small, tmp_path_factory):
    made = World(tmp_path_factory.mktemp("large"))
    contract = made.desk.project.contracts / "population" / "resident.yaml"
    contract.write_text(BY_REGION, "utf-8")
    made.plans["population.resident"] = compiler.plan(dataset("population.resident", made.desk.project), ())
    made.states["population.resident"] = state(made.lake, made.plans["population.resident"], PEOPLE, "large")
    made.publish()
    return made


def files(world):
    return sorted((world.lake.releases / "data" / "population.resident").glob("*/rows*.parquet"))


def listed(world):
    return f"read_parquet({[str(f) for f in files(world)]})"


def test_a_large_dataset_is_files_of_a_range_of_the_key_that_go_by_division_then_key(world):
    parts = [duckdb.sql(f"SELECT person_id, region_code FROM read_parquet('{f}')").fetchall() for f in files(world)]
    assert [len(p) for p in parts] == [1_000] * 3 and [f.name for f in files(world)] == ["rows-001.parquet", "rows-002.parquet", "rows-003.parquet"]
    by_key = sorted(r[0] for part in parts for r in part)
    assert len(set(by_key)) == 3_000
    for i, part in enumerate(parts):
        assert sorted(r[0] for r in part) == by_key[i * 1_000:(i + 1) * 1_000], "ranges do not overlap"
        assert part == sorted(part, key=lambda r: (r[1], r[0])), "by division, then by key"
    assert world.rows("SELECT count(*), count(DISTINCT person_id) FROM population.resident") == [(3_000, 3_000)]


def test_every_pseudonym_has_a_bloom_filter_that_tells_what_is_absent(world):
    found = dict(duckdb.sql(f"SELECT path_in_schema, bool_and(bloom_filter_offset IS NOT NULL) FROM parquet_metadata({[str(f) for f in files(world)]}) GROUP BY ALL").fetchall())
    assert found["person_id"] and found["household_no_pseudonym"]
    absent = [excluded for n in range(40) for _, _, excluded in duckdb.sql(
        f"SELECT * FROM parquet_bloom_probe({[str(f) for f in files(world)]}, 'household_no_pseudonym', 'nobody lives here {n:02}')").fetchall()]
    assert len(absent) >= 120 and sum(absent) > 0.85 * len(absent), "three in a hundred may be taken for present"
    one = world.rows("SELECT person_id, household_no_pseudonym FROM population.resident LIMIT 1 OFFSET 1500")[0]
    assert world.rows(f"SELECT count(*) FROM population.resident WHERE person_id = '{one[0]}' AND household_no_pseudonym = '{one[1]}'") == [(1,)]


def test_the_optimizer_reckons_with_sizes_that_lie_nearer_together(world, tmp_path):
    told = [layout.estimate(n) for n in (300, 3_000, 30_000, 300_000)]
    assert told[0] == 5 * 300 and told == sorted(told) and all(b < 5 * a for a, b in zip(told, told[1:])) and layout.estimate(299) is None
    assert f"~{told[1]:,} rows" in str(world.rows("EXPLAIN SELECT person_id FROM population.resident"))
    assert world.rows("SELECT count(*) FROM population.resident") == [(3_000,)]
    made = World(tmp_path)
    made.publish()
    assert "explicit_cardinality" not in str(made.rows("SELECT sql FROM duckdb_views() WHERE view_name = 'resident'"))


def test_a_small_file_stays_in_the_order_of_its_key_without_filters(tmp_path):
    made = World(tmp_path)
    made.publish()
    assert [r[0] for r in made.rows("SELECT person_id FROM population.resident")] == sorted(r[0] for r in made.rows("SELECT person_id FROM population.resident"))
    assert duckdb.sql(f"SELECT count(bloom_filter_offset) FROM parquet_metadata('{files(made)[0]}')").fetchone() == (0,)


def test_a_cut_file_keeps_order_and_filters(world):
    cut, rows = files(world)[1], duckdb.sql(f"SELECT person_id FROM {listed(world)}").fetchall()
    entry = {"path": str(cut.relative_to(world.lake.releases)), "sha256": published.sha256(cut), "rows": 1_000, "bytes": 0}
    with connect() as con:
        left, gone, positions = withdrawal._cut(con, world.lake, world.desk.ledger, entry, "person_id", [rows[1234][0], rows[1007][0]], "true")
    assert (left["rows"], gone, [e["rows"] for e in positions.values()]) == (1_000, 2, [2]), "rows keep their places, which positions tell"
    assert duckdb.sql(f"SELECT count(*), count(person_id), count(household_no_pseudonym), count(region_code) FROM '{cut}'").fetchone() == (1_000, 998, 998, 998)
    assert sorted(world.rows("SELECT person_id FROM population.resident")) == sorted(r for i, r in enumerate(rows) if i not in (1007, 1234))
    assert duckdb.sql(f"SELECT bool_and(bloom_filter_offset IS NOT NULL) FROM parquet_metadata('{cut}') WHERE path_in_schema = 'person_id'").fetchone() == (True,)


def test_a_key_that_only_now_becomes_a_pseudonym_is_split_before_it_is_sorted(small, tmp_path):
    """The order of `current` would tell which number is which; no row may be lost between the ranges."""
    made, keyed = World(tmp_path), ", primaryKey: true}"
    contract = made.desk.project.contracts / "population" / "resident.yaml"
    contract.write_text("\n".join(
        line.replace(keyed, "}") if "name: id_number" in line else line.removesuffix("}") + keyed if "name: household_no" in line else line
        for line in BY_REGION.splitlines()), "utf-8")
    plan = made.plans["population.resident"] = compiler.plan(dataset("population.resident", made.desk.project), ())
    made.states["population.resident"] = state(made.lake, plan, [p | {"household_no": f"H{n}"} for n, p in enumerate(PEOPLE)], "split")
    made.publish()
    assert made.rows("SELECT count(*), count(DISTINCT household_no_pseudonym), count(DISTINCT person_id) FROM population.resident") == [(3_000, 3_000, 3_000)]
    parts = [duckdb.sql(f"SELECT region_code, household_no_pseudonym FROM '{f}'").fetchall() for f in files(made)]
    assert len(parts) == 3 and all(part == sorted(part) for part in parts)
    assert all(max(r[1] for r in a) < min(r[1] for r in b) for a, b in zip(parts, parts[1:]))
    assert not (made.lake.staging / ".release").exists()


def test_ranges_of_a_pseudonym_made_at_release_are_even_and_in_its_order(small):
    with connect() as con:
        keys.install(con, bytes(32))
        clause = layout.range_of("p", 40)
        found = con.execute(f"SELECT {clause} AS n, count(*), min(p), max(p) FROM (SELECT keyed_digest(i::VARCHAR) AS p FROM range(40000) t(i)) GROUP BY ALL ORDER BY n").fetchall()
    assert [r[0] for r in found] == list(range(40))
    assert all(800 < r[1] < 1_200 for r in found)
    assert all(a[3] < b[2] for a, b in zip(found, found[1:]))
