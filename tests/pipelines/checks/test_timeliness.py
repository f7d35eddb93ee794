"""Deliveries against the agreed rhythm: in time, late, missing, not yet due."""
from __future__ import annotations

import pytest

from pipelines import checks
from pipelines.checks import timeliness
from tests.pipelines.checks.conftest import DATASET, person, send
from tests.support import RESIDENCE


def came(day: str, received: str, part: str = "640100") -> dict:
    return {"source": "s", "part": part, "batch_date": day, "received_at": f"{received}T02:00:00Z"}


def found(con, batches, frequency=(1, "month"), latency=5, today="2026-04-20") -> dict:
    return {(r["part"], r["expected"]): (r["missing"], r["days_late"]) for r in timeliness.due(con, batches, frequency, latency, today)}


def test_in_time_late_and_missing(con):
    batches = [came("2026-01-01", "2026-01-06"), came("2026-02-03", "2026-02-09"), came("2026-04-01", "2026-04-02")]
    assert found(con, batches) == {("640100", "2026-01-01"): (False, 0), ("640100", "2026-02-01"): (False, 3),
                                   ("640100", "2026-03-01"): (True, 45), ("640100", "2026-04-01"): (False, 0)}


def test_what_is_not_yet_due_is_no_fault(con):
    assert found(con, [came("2026-03-01", "2026-03-01")], today="2026-04-06") == {("640100", "2026-03-01"): (False, 0)}
    assert found(con, [came("2026-03-01", "2026-03-01")], today="2026-04-07")["640100", "2026-04-01"] == (True, 1)


@pytest.mark.parametrize(("frequency", "days"), [
    ((1, "day"), ["2026-01-31", "2026-02-01", "2026-02-02"]), ((1, "week"), ["2026-01-31", "2026-02-07", "2026-02-14"]),
    ((1, "month"), ["2026-01-31", "2026-02-28", "2026-03-31"]), ((1, "quarter"), ["2026-01-31", "2026-04-30", "2026-07-31"]),
    ((1, "half-year"), ["2026-01-31", "2026-07-31", "2027-01-31"]), ((1, "year"), ["2026-01-31", "2027-01-31", "2028-01-31"])])
def test_every_rhythm_of_a_contract(con, frequency, days):
    rows = found(con, [came("2026-01-31", "2026-01-31")], frequency, 0, days[2])
    assert {k: v[0] for k, v in rows.items() if v[0]} == {("640100", days[1]): True}


def test_a_receipt_counts_on_its_day_in_china(con):
    at_night = came("2026-01-01", "2026-01-06") | {"received_at": "2026-01-06T17:00:00Z"}
    assert found(con, [at_night], today="2026-01-10") == {("640100", "2026-01-01"): (False, 1)}


def test_the_order_of_arrival_leaves_no_trace(con):
    batches = [came(f"2026-0{m}-01", f"2026-0{m}-0{m}", part) for m in (1, 2, 3) for part in ("640100", "640200")]
    assert found(con, batches) == found(con, batches[::-1])


def test_results_stand_by_expected_date_and_part(lake, tmp_path):
    sla = RESIDENCE.replace("unit: month}]", "unit: month}, {property: latency, value: 5, unit: d}]", 1)
    at = lake(contract=sla)
    for part in ("640100", "640200"):
        send(at, tmp_path, "2026-01-01", [person(1)], part=part)
    [row] = [r for r in checks.run(at, [DATASET], "2026-01-01") if r["kind"] == "timeliness"]
    assert (row["rule"], row["as_of"], row["applicable"], row["failed"], row["outcome"], row["indicator"]) == (
        "delivery.in_time", "2026-01-01", 2, 2, "fail", "0502"), "received long after, by the ledger's clock"
    assert at.lake.home and all(r["kind"] != "timeliness" for r in checks.run(lake(where="none"), [DATASET]))
