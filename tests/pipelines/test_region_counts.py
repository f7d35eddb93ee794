"""Counts by rule and region: packed and unpacked they are the same rows, and an older lake keeps its own."""
from __future__ import annotations

import itertools
import json
import random

import duckdb
import pytest
import sqlalchemy as sa

from pipelines import ledger, ledger_tables as tables, region_counts
from tests.support import RESIDENCE, desk, project

RULES = [f"column_{n}.rule" for n in range(150)]
ROWS = [{"region": region, "rule": rule, "applicable": 10 + n % 3, "failed": n % 7 == 0, "repaired": n % 5 == 0, "waived": 0}
        for region in ("640104", "640105", "") for n, rule in enumerate(RULES) if region != "" or n % 2]


def _sorted(rows) -> list[tuple]:
    return sorted((r["region"], r["rule"], *(int(r[c]) for c in region_counts.COUNTED)) for r in rows)


def _unpacked(con, packed: str) -> list[dict]:
    con.execute("CREATE OR REPLACE TABLE kept AS SELECT 'b' AS batch_id, 1 AS revision, $1 AS counts", [packed])
    found = con.execute(region_counts.unpacked_sql("kept"))
    names = [d[0] for d in found.description]
    return [dict(zip(names, row)) for row in found.fetchall()]


def test_what_is_packed_is_unpacked_by_python_and_by_duckdb():
    with duckdb.connect() as con:
        for packed in (region_counts.pack(ROWS), region_counts.pack(ROWS[::-1])):
            assert _sorted(region_counts.unpack(packed)) == _sorted(_unpacked(con, packed)) == _sorted(ROWS)
        assert _unpacked(con, region_counts.NOTHING) == list(region_counts.unpack(region_counts.NOTHING)) == []
    assert region_counts.pack([]) == region_counts.text_of([]) == region_counts.NOTHING


def test_groups_of_equal_masks_are_packed_as_rows_of_each_rule_are():
    draw = random.Random(11)
    bits = [n // 62 * region_counts.MASK + n % 62 for n in range(len(RULES))]
    groups, rows = [], {}
    for of, region in itertools.product((0, 3), ("", "640104", "640105", "640106")):
        for kind, place in itertools.product(range(len(region_counts.COUNTED)), range(3)):
            for _ in range(draw.randrange(4) if region != "640106" else kind == 1):      # the last one: rules fail where none applies, which is not told
                mask, n = draw.getrandbits(62) if place < 2 else draw.getrandbits(26), draw.randrange(1, 4)
                groups.append((of, region, kind, place, mask, n))
                for bit in range(62):
                    if mask >> bit & 1:
                        rows.setdefault((of, region, place * 62 + bit), [0] * 4)[kind] += n
    found = region_counts.packed(RULES, bits, groups)
    for of in (0, 3):
        told = [{"region": region, "rule": RULES[rule], **dict(zip(region_counts.COUNTED, counts))}
                for (mine, region, rule), counts in rows.items() if mine == of and (counts[0] or counts[3])]
        assert _sorted(region_counts.unpack(found[of])) == _sorted(told)
        assert len(json.loads(found[of])["of"]) == len({(r["region"], *(r[c] for c in region_counts.COUNTED)) for r in told})
    assert region_counts.packed(RULES, bits, []) == {}


def test_what_fails_is_told_apart_and_all_else_in_one_row_of_a_region():
    told = list(region_counts.failing(region_counts.pack(ROWS)))
    assert _sorted(r for r in ROWS if r["failed"]) == sorted((r["region"], r["rule"], r["applicable"], r["failed"], rep, 0) for r in told if r["rule"]
                                                             for rep in [int(RULES.index(r["rule"]) % 5 == 0)])
    assert {r["region"]: r["applicable"] for r in told if not r["rule"]} == {
        region: sum(r["applicable"] for r in ROWS if r["region"] == region and not r["failed"]) for region in ("640104", "640105", "")}


@pytest.mark.parametrize("without", [(), ("waived",)], ids=["newer", "older"])
def test_an_older_lake_keeps_its_counts(tmp_path, without):
    at = desk(tmp_path, project(tmp_path / "project", population__residence=RESIDENCE))
    counted = [c for c in region_counts.COUNTED if c not in without]
    with at.ledger.transaction() as con:
        con.exec_driver_sql(f"CREATE TABLE ledger_rule_counts (batch_id TEXT, revision INTEGER, region TEXT, rule TEXT, {' BIGINT, '.join(counted)} BIGINT)")
        con.exec_driver_sql(f"INSERT INTO ledger_rule_counts VALUES ({', '.join('?' * (4 + len(counted)))})", [
            (batch, revision, row["region"], row["rule"], *(int(row[c]) for c in counted)) for batch, revision in (("b", 1), ("b", 2), ("c", 1)) for row in ROWS])
    for _ in "twice":
        ledger._prepared.cache_clear()
        kept = ledger.Ledger(at.lake).rows(sa.select(tables.region_counts))
        assert [(r["batch_id"], r["revision"]) for r in kept] == [("b", 1), ("b", 2), ("c", 1)]
        assert all(_sorted(region_counts.unpack(r["counts"])) == _sorted(ROWS) for r in kept)
    assert not sa.inspect(at.ledger.engine).has_table("ledger_rule_counts")


def test_a_batch_that_an_earlier_program_staged_is_entered():
    assert _sorted(region_counts.unpack(region_counts.text_of(json.loads(json.dumps(ROWS))))) == _sorted(ROWS)
