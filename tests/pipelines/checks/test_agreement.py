"""Sources and parts that overlap: per column and pair of sources, per person in two parts, against counts by hand."""
from __future__ import annotations

import pytest

from pipelines import checks, steps
from tests.pipelines.checks.conftest import DATASET, person, send


def found(at) -> dict[tuple[str, str], tuple[int, int, str]]:
    return {(r["rule"], r["source"]): (r["applicable"], r["failed"], r["outcome"]) for r in checks.run(at, [DATASET], "2026-12-31") if r["kind"] == "agreement"}


def test_sources_are_compared_column_by_column(lake, tmp_path):
    at = lake("upsert")
    send(at, tmp_path, "2026-01-01", [person(1), person(2), person(3, status=""), person(4)])
    send(at, tmp_path, "2026-01-01", [person(1), person(2, status="失效"), person(3), person(9)], source="grid")
    rows = found(at)
    assert rows["status.agrees_with_police", "grid"] == (2, 1, "fail"), "an empty cell is no disagreement"
    assert rows["name.agrees_with_police", "grid"] == (3, 0, "pass")
    assert {s for _, s in rows} == {"grid"}, "what the authority says is what others are measured by"
    [row] = [r for r in checks.newest(at, [DATASET]) if r["rule"] == "status.agrees_with_police"]
    assert (row["owner"], row["indicator"], row["column"]) == ("网格中心", "0401", "status")


def test_a_person_in_two_parts_and_two_persons_with_one_number(lake, tmp_path):
    at = lake("snapshot")
    send(at, tmp_path, "2026-01-01", [person(1), person(2), person(3)], part="640100")
    send(at, tmp_path, "2026-01-01", [person(3), person(4), person(2, name="吴二", region="640105")], part="640200")
    rows = found(at)
    assert rows["key.one_part", "police"] == (6, 4, "fail")
    assert rows["key.one_identity", "police"] == (4, 2, "fail")


def test_who_moves_is_in_one_part(lake, tmp_path):
    at = lake("snapshot")
    send(at, tmp_path, "2026-01-01", [person(1), person(2)], part="640100")
    send(at, tmp_path, "2026-02-01", [person(1)], part="640100")
    send(at, tmp_path, "2026-02-01", [person(2)], part="640200")
    assert found(at)["key.one_part", "police"] == (2, 0, "pass")


@pytest.mark.parametrize("load", ["snapshot", "upsert"])
@pytest.mark.long
def test_the_order_of_arrival_leaves_no_trace(lake, tmp_path, load):
    sent = [("2026-01-01", [person(1), person(2)], "640100", "police"), ("2026-02-01", [person(2, status="失效")], "640200", "police"),
            ("2026-01-15", [person(1, status="待查")], "640100", "grid")]
    both = []
    for where, order in (("one", sent), ("other", sent[::-1])):
        at = lake(load, where=where)
        for day, rows, part, source in order:
            send(at, tmp_path, day, rows, part=part, source=source)
            steps.release(at)
        both.append(found(at))
    assert both[0] == both[1] != {}
