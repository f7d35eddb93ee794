"""A batch against those before it: each planted change is seen, nothing else is, and the order of arrival leaves no trace.

Planted over six months of two cities: a volume of a tenth (2026-05 of 640200), a column that is no longer sent (2026-06 of
640100), codes that swapped places, and one that was never there before.
"""
from __future__ import annotations

import itertools
import json
import random

import pytest
import sqlalchemy as sa

from pipelines import checks, ledger_tables as tables, rules, site, steps
from pipelines.checks import history
from pipelines.settings import WrongUse
from tests.pipelines.checks.conftest import DATASET, person, send

LIMITS = rules.HISTORY | {"volume_low": 0.8, "volume_high": 1.25}


def months(n: int) -> list[str]:
    return [f"2026-{m:02d}-01" for m in range(1, n + 1)]


def batch(day: str, records: int = 1000, repaired: int = 20, part: str = "640100", filled: int = 900, codes: dict[str, int] | None = None) -> dict:
    name = f"d.x~s~{part}~{day}~1"
    return {"batch_id": name, "source": "s", "part": part, "batch_date": day, "sequence": 1, "records": records, "repaired": repaired,
            "profile": [{"batch_id": name, "column": "note", "records": records, "filled": filled}],
            "values": [{"batch_id": name, "column": "kind", "value": v, "rows": n} for v, n in (codes or {"1": 500, "2": 480, "9": 20}).items()]}


def compare(con, sent: list[dict], **limits) -> list[dict]:
    given = {"batch": sent, "profile": [p for b in sent for p in b["profile"]], "profile_value": [v for b in sent for v in b["values"]]}
    return history.compare(con, given, LIMITS | limits)


def failing(rows: list[dict]) -> set[tuple]:
    return {(r["reason"], r["column"], r["part"], r["batch_date"]) for r in rows if r["failed"]}


@pytest.fixture
def calm():
    """Six months of two cities that change only by chance."""
    draw = random.Random(5)
    return [batch(day, records=1000 + draw.randint(-40, 40), repaired=draw.randint(12, 28), part=part, filled=900 + draw.randint(-15, 15),
                  codes={"1": 500 + draw.randint(-25, 25), "2": 480 + draw.randint(-25, 25), "9": draw.randint(10, 30)})
            for part, day in itertools.product(("640100", "640200"), months(6))]


def test_nothing_is_found_where_nothing_changed(con, calm):
    rows = compare(con, calm)
    assert failing(rows) == set()
    assert {(r["part"], r["batch_date"]) for r in rows} == {(p, d) for p in ("640100", "640200") for d in months(6)[3:]}, "three batches come before"


def test_each_planted_change_is_found_and_nothing_else(con, calm):
    at = {(b["part"], b["batch_date"]): i for i, b in enumerate(calm)}
    calm[at["640200", "2026-05-01"]] = batch("2026-05-01", records=100, filled=90, repaired=2, part="640200", codes={"1": 52, "2": 46, "9": 2})
    calm[at["640100", "2026-06-01"]] = batch("2026-06-01", filled=300, repaired=200, codes={"1": 40, "2": 940, "7": 20})
    assert failing(compare(con, calm)) == {
        ("volume", None, "640200", "2026-05-01"), ("filled", "note", "640100", "2026-06-01"), ("repaired", None, "640100", "2026-06-01"),
        ("distribution", "kind", "640100", "2026-06-01"), ("seen_before", "kind", "640100", "2026-06-01")}
    [fresh] = [r for r in compare(con, calm) if r["failed"] and r["reason"] == "seen_before"]
    assert (fresh["values"], fresh["failed"], fresh["applicable"]) == (["7"], 20, 1000)


def test_the_numbers_are_those_of_an_independent_computation(con):
    from math import log
    from statistics import median

    volumes = [1000, 1200, 900, 1100, 1500]
    batches = [batch(d, records=v, filled=v - 100) for d, v in zip(months(5), volumes)]
    batches[4]["values"] = [v | {"rows": n} for v, n in zip(batches[4]["values"], (100, 880, 20))]
    rows = {r["reason"]: r for r in compare(con, batches) if r["batch_date"] == "2026-05-01"}
    assert (rows["volume"]["value"], rows["volume"]["baseline"]) == (1500, median(volumes[:4]))
    assert rows["filled"]["baseline"] == pytest.approx(median((v - 100) / v for v in volumes[:4]))
    shift = sum((p - q) * log(p / q) for p, q in ((0.1, 0.5), (0.88, 0.48), (0.02, 0.02)))
    assert rows["distribution"]["value"] == pytest.approx(shift)


def test_a_small_batch_needs_more_than_a_difference(con):
    """Of 40 rows a fall from 90 % to 82 % is chance; of 4,000 it is none."""
    few = [batch(d, records=40, filled=36) for d in months(3)] + [batch("2026-04-01", records=40, filled=33)]
    many = [batch(d, records=4000, filled=3600) for d in months(3)] + [batch("2026-04-01", records=4000, filled=3300)]
    assert "filled" not in {r[0] for r in failing(compare(con, few))}
    assert "filled" in {r[0] for r in failing(compare(con, many))}


@pytest.mark.parametrize(("key", "value", "reason"), [
    ("volume_low", 0.05, "volume"), ("filled_drop", 0.9, "filled"), ("shift", 9.0, "distribution"), ("repaired_rise", 0.5, "repaired"), ("batches", 6, "seen_before")])
def test_every_limit_reaches_the_comparison(con, calm, key, value, reason):
    calm[5] = batch("2026-06-01", records=100, filled=30, repaired=40, codes={"1": 5, "2": 90, "7": 5})
    assert reason in {r[0] for r in failing(compare(con, calm))}
    assert reason not in {r[0] for r in failing(compare(con, calm, **{key: value}))}


def test_the_high_limit_reaches_the_comparison(con, calm):
    calm[5] = batch("2026-06-01", records=3000)
    assert ("volume", None, "640100", "2026-06-01") in failing(compare(con, calm))
    assert ("volume", None, "640100", "2026-06-01") not in failing(compare(con, calm, volume_high=4.0))


def kept(at) -> list[tuple]:
    c = tables.checks
    rows = at.ledger.rows(sa.select(c).where(c.c.dataset == DATASET, c.c.kind == "history").order_by(c.c.rule, c.c.source, c.c.as_of))
    return [tuple(v if k != "detail" else json.loads(v) for k, v in r.items() if k != "checked_at") for r in rows]


def test_the_order_of_arrival_leaves_no_trace_and_no_batch_is_held(lake, tmp_path, monkeypatch):
    monkeypatch.setattr(site, "build", lambda *_: None)      # ten releases, of which no page is looked at
    sent = {day: [person(n, birth=f"199{i}0101") for n in range(1, 40)] for i, day in enumerate(months(5))}
    sent["2026-05-01"] = sent["2026-05-01"][:4]
    one, other = lake(where="one"), lake(where="other")
    for at, days in ((one, list(sent)), (other, ["2026-05-01", "2026-02-01", "2026-04-01", "2026-01-01", "2026-03-01"])):
        for day in days:
            assert len(send(at, tmp_path, day, sent[day])) == 1, "a check never changes acceptance"
            steps.release(at)
    assert kept(one) == kept(other) != []
    failed = {(r["rule"], r["as_of"]) for r in checks.run(one, [DATASET], "2026-05-02") if r["outcome"] == "fail" and r["kind"] == "history"}
    assert failed == {("batch.volume_as_before", "2026-05-01")}


def test_the_limits_are_declared_and_read(lake, tmp_path):
    at = lake(rules="- history: {batches: 1, volume_low: 0.01, reason: 试点期间报送范围逐月扩大}\n", where="limits")
    for day, n in (("2026-01-01", 40), ("2026-02-01", 4)):
        send(at, tmp_path, day, [person(i) for i in range(1, n + 1)])
    rows = checks.run(at, [DATASET], "2026-02-02")
    [volume] = [r for r in rows if r["rule"] == "batch.volume_as_before"]
    assert (volume["outcome"], volume["as_of"], volume["reason"]) == ("pass", "2026-02-01", "试点期间报送范围逐月扩大")


@pytest.mark.parametrize(("text", "says"), [
    ("- history: {volume: 2, reason: x}\n", "Nearest: 'volume_"), ("- history: {volume_low: 0.5}\n", "lacks 'reason'"),
    ("- history: {reason: x}\n- history: {reason: y}\n", "given twice"), ("- history: {batches: 0, reason: x}\n", "batches below 1")])
def test_wrong_limits_are_refused(lake, text, says):
    at = lake(rules=text)
    with pytest.raises(WrongUse, match=says):
        at.plan(DATASET)
