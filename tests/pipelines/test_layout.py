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
    contract.write_text(RESIDENT.replace("{property: load, value: upsert}", "{property: load, value: upsert}\n      - {property: region, value: region_code}"), "utf-8")
    made.plans["population.resident"] = compiler.plan(dataset("population.resident", made.desk.project), ())
    made.states["population.resident"] = state(made.lake, made.plans["population.resident"], PEOPLE, "large")
    made.publish()
    return made


def file(world):
    return next((world.lake.releases / "data" / "population.resident").glob("*/rows.parquet"))


def test_a_large_file_goes_by_range_of_the_key_then_division_then_key(world):
    rows = duckdb.sql(f"SELECT person_id, region_code FROM read_parquet('{file(world)}')").fetchall()
    assert len(rows) == len({r[0] for r in rows}) == 3_000
    by_key = sorted(r[0] for r in rows)
    for start in range(0, 3_000, 1_000):
        part = rows[start:start + 1_000]
        assert sorted(r[0] for r in part) == by_key[start:start + 1_000], "ranges do not overlap"
        assert part == sorted(part, key=lambda r: (r[1], r[0])), "by division, then by key"


def test_every_pseudonym_has_a_bloom_filter_that_tells_what_is_absent(world):
    found = dict(duckdb.sql(f"SELECT path_in_schema, bool_and(bloom_filter_offset IS NOT NULL) FROM parquet_metadata('{file(world)}') GROUP BY ALL").fetchall())
    assert found["person_id"] and found["household_no_pseudonym"]
    probed = [excluded for _, _, excluded in duckdb.sql(f"SELECT * FROM parquet_bloom_probe('{file(world)}', 'household_no_pseudonym', 'nobody lives here 12')").fetchall()]
    assert probed and all(probed)
    one = world.rows("SELECT person_id, household_no_pseudonym FROM population.resident LIMIT 1 OFFSET 1500")[0]
    assert world.rows(f"SELECT count(*) FROM population.resident WHERE person_id = '{one[0]}' AND household_no_pseudonym = '{one[1]}'") == [(1,)]


def test_a_small_file_stays_in_the_order_of_its_key_without_filters(tmp_path):
    made = World(tmp_path)
    made.publish()
    assert [r[0] for r in made.rows("SELECT person_id FROM population.resident")] == sorted(r[0] for r in made.rows("SELECT person_id FROM population.resident"))
    assert duckdb.sql(f"SELECT count(bloom_filter_offset) FROM parquet_metadata('{file(made)}')").fetchone() == (0,)


def test_a_cut_file_keeps_order_and_filters(world):
    rows = world.rows("SELECT person_id FROM population.resident")
    entry = {"path": str(file(world).relative_to(world.lake.releases)), "sha256": published.sha256(file(world)), "rows": 3_000, "bytes": 0}
    with connect() as con:
        left, gone = withdrawal._cut(con, world.lake, world.desk.ledger, entry, "person_id", [rows[1234][0], rows[7][0]], "true")
    assert (left["rows"], gone) == (2_998, 2)
    assert world.rows("SELECT person_id FROM population.resident") == [r for i, r in enumerate(rows) if i not in (7, 1234)]
    assert duckdb.sql(f"SELECT bool_and(bloom_filter_offset IS NOT NULL) FROM parquet_metadata('{file(world)}') WHERE path_in_schema = 'person_id'").fetchone() == (True,)


def test_ranges_of_a_pseudonym_made_at_release_are_even_and_in_its_order(small):
    with connect() as con:
        keys.install(con, bytes(32))
        clause = layout._range_of("p", 40_000)
        found = con.execute(f"SELECT {clause} AS n, count(*), min(p), max(p) FROM (SELECT keyed_digest(i::VARCHAR) AS p FROM range(40000) t(i)) GROUP BY ALL ORDER BY n").fetchall()
    assert [r[0] for r in found] == list(range(40))
    assert all(800 < r[1] < 1_200 for r in found)
    assert all(a[3] < b[2] for a, b in zip(found, found[1:]))
