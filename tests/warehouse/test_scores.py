"""Scores as views: three months of sample history, recomputed here in plain Python from the ledger's rows.

Planted: a correction (its first revision must not count), a refused and a superseded revision with results (nor these), a held batch (counts), the same
month a year before, a rule that applied to nothing, a check run twice in a month (the last run counts), records of no known division.
"""
from __future__ import annotations

import statistics
from collections import defaultdict
from datetime import date

import duckdb
import pytest
import sqlalchemy as sa

from pipelines import ledger_tables as tables, region_counts, steps
from pipelines.sample import generate
from pipelines.site import ledger_views
from tests.support import desk

DATASETS = ("legal_entity.enterprise", "legal_entity.key_person")
MONTHS = ("2026-09", "2026-10", "2026-11")
CHECK = {"dataset": DATASETS[0], "rule": "uscc_known_to_tax", "source": "market_regulation", "kind": "across", "zh": "税务有登记", "en": "known to tax",
         "indicator": "0401", "severity": "warn", "owner": "市场监管厅", "at_least": 0.9, "outcome": "fail", "checked_at": "2026-11-02T00:00:00Z"}


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    root = tmp_path_factory.mktemp("scores")
    made = desk(root)
    generate(made.lake.inbox, 600, 7, date(2026, 11, 1), 3, truth=root / "truth")
    for dataset in DATASETS:
        steps.commit(dataset, steps.judge(dataset, steps.stage(dataset, steps.receive(dataset, desk=made), made), made), made)
    _plant(made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps.checks, "judge", lambda *_: [])      # those planted are the only ones
        assert steps.release(made)
    return made


def _plant(at) -> None:
    """Ledger rows of what the sample has not."""
    b, r, c = tables.batches, tables.rule_results, tables.region_counts
    november = next(row for row in at.ledger.rows(sa.select(b).where(b.c.dataset == DATASETS[0])) if row["batch_date"] == "2026-11-01")
    mine = (november["batch_id"], november["revision"])
    results, counts = (at.ledger.rows(sa.select(t).where(t.c.batch_id == mine[0], t.c.revision == mine[1])) for t in (r, c))
    assert results and counts
    counts = list(region_counts.unpack(counts[0]["counts"]))

    def copy(con, batch_id, revision, state, spoil, **values):
        key = {"batch_id": batch_id, "revision": revision}
        con.execute(b.insert(), november | key | {"state": state} | values)
        spoilt = [[row | {"failed": min(row["applicable"], row["failed"] + spoil)} for row in rows] for rows in (results, counts)]
        con.execute(r.insert(), [row | key for row in spoilt[0]])
        con.execute(c.insert(), key | {"counts": region_counts.pack(spoilt[1])})

    with at.ledger.transaction() as con:
        copy(con, mine[0].replace("2026-11-01", "2025-11-01"), 1, "accepted", 2, batch_date="2025-11-01", copies=7)
        held = mine[0].replace("2026-11-01", "2026-10-15")
        copy(con, held, 1, "superseded", 50, batch_date="2026-10-15")
        copy(con, held, 2, "held", 3, batch_date="2026-10-15")
        copy(con, mine[0].replace("2026-11-01", "2026-10-20"), 1, "refused", 40, batch_date="2026-10-20")
        copy(con, mine[0].replace("2026-11-01", "2026-10-25"), 1, "held", 40, batch_date="2026-10-25", decided_by="stage")
        checks = [{"as_of": "2026-11-01", "applicable": 10, "failed": 9}, {"as_of": "2026-11-09", "applicable": 10, "failed": 2}, {"as_of": "2026-10-01", "applicable": 0, "failed": 0}]
        con.execute(tables.checks.insert(), [CHECK | one for one in checks])
        con.execute(tables.check_counts.insert(), [{k: CHECK[k] for k in ("dataset", "rule", "source")} | one for one in (
            {"as_of": "2026-11-01", "region": "640104", "applicable": 6, "failed": 6}, {"as_of": "2026-11-09", "region": "640104", "applicable": 6, "failed": 2})])


@pytest.fixture(scope="module", params=["released", "now"])
def views(at, request):
    """The views of the published database, and those of the pages."""
    con = duckdb.connect(str(at.lake.database), read_only=True) if request.param == "released" else ledger_views.connect(at)
    yield con
    con.close()


def measured(at) -> list[dict]:
    """Every measurement that counts: month, dataset, source, rule, indicator, applicable, failed, region (None: the whole)."""
    newest = {}
    for row in at.ledger.rows(sa.select(tables.batches).order_by(tables.batches.c.revision)):
        newest[row["batch_id"]] = row
    judged = {(b["batch_id"], b["revision"]): b for b in newest.values() if b["state"] in ("accepted", "held") and b["decided_by"] != "stage"}
    found, of = [], {}
    for row in at.ledger.rows(sa.select(tables.rule_results)):
        batch = judged.get((row["batch_id"], row["revision"]))
        of[row["batch_id"], row["revision"], row["rule"]] = row["indicator"]
        if batch and row["indicator"] != "0303":
            found.append({"month": batch["batch_date"][:7], "batch": batch["batch_id"], "dataset": batch["dataset"], "source": batch["source"], "region": None, **row})
    for batch in judged.values():
        found.append({"month": batch["batch_date"][:7], "batch": batch["batch_id"], "dataset": batch["dataset"], "source": batch["source"], "region": None,
                      "rule": "identical_copies", "indicator": "0303", "applicable": batch["records"], "failed": batch["copies"]})
    packed = at.ledger.rows(sa.select(tables.region_counts))
    for row in ({k: own[k] for k in ("batch_id", "revision")} | one for own in packed for one in region_counts.unpack(own["counts"])):
        batch = judged.get((row["batch_id"], row["revision"]))
        if batch:
            found.append({"month": batch["batch_date"][:7], "batch": batch["batch_id"], "dataset": batch["dataset"], "source": batch["source"],
                          "indicator": of[row["batch_id"], row["revision"], row["rule"]], **row})
    check = {"dataset": CHECK["dataset"], "source": CHECK["source"], "rule": CHECK["rule"], "indicator": "0401", "batch": None}
    found.append(check | {"month": "2026-11", "region": None, "applicable": 10, "failed": 2})
    found.append(check | {"month": "2026-10", "region": None, "applicable": 0, "failed": 0})
    found.append(check | {"month": "2026-11", "region": "640104", "applicable": 6, "failed": 2})
    return found


def scores(rows: list[dict]) -> tuple[dict, float | None]:
    """({(dataset, dimension): score}, mean over datasets) of some measurements."""
    held, applicable = defaultdict(int), defaultdict(int)
    for row in rows:
        held[row["dataset"], row["indicator"]] += row["applicable"] - row["failed"]
        applicable[row["dataset"], row["indicator"]] += row["applicable"]
    dimensions = defaultdict(list)
    for key, total in applicable.items():
        if total:
            dimensions[key[0], key[1][:2]].append(held[key] / total)
    means = {key: statistics.fmean(values) for key, values in dimensions.items()}
    datasets = defaultdict(list)
    for (dataset, _), value in means.items():
        datasets[dataset].append(value)
    return means, statistics.fmean(statistics.fmean(v) for v in datasets.values()) if datasets else None


def history(rows: list[dict]) -> dict[str, float | None]:
    """Month → score of some measurements."""
    return {month: scores([r for r in rows if r["month"] == month])[1] for month in {r["month"] for r in rows}}


def compared(found: dict[str, float | None], month: str) -> tuple:
    """(score, 环比, 同比) of a month."""
    year, number = int(month[:4]), int(month[5:])
    before = found.get(f"{year - (number == 1)}-{number - 1 or 12:02d}")
    last = found.get(f"{year - 1}-{number:02d}")
    value = found[month]
    return value, (value - before) / before if before else None, (value - last) / last if last else None


def agree(given, wanted) -> bool:
    return all((a is None and b is None) or (a is not None and b is not None and abs(a - b) < 1e-12) for a, b in zip(given, wanted, strict=True))


def test_datasets_with_month_on_month_and_year_on_year(at, views):
    rows = [r for r in measured(at) if r["region"] is None]
    found = views.execute("SELECT month, dataset, score, mom, yoy FROM governance.dataset_scores ORDER BY ALL").fetchall()
    assert {(m, d) for m, d, *_ in found} == {(m, d) for d in DATASETS for m in MONTHS} | {("2025-11", DATASETS[0])}
    for month, dataset, *given in found:
        wanted = compared(history([r for r in rows if r["dataset"] == dataset]), month)
        assert agree(given, wanted), (month, dataset, given, wanted)
    told = {(m, d): given for m, d, *given in found}
    assert None not in told["2026-11", DATASETS[0]] and told["2026-11", DATASETS[0]][1] != 0


def test_dimensions_and_indicators(at, views):
    rows = [r for r in measured(at) if r["region"] is None]
    for month in MONTHS:
        wanted = scores([r for r in rows if r["month"] == month])[0]
        given = {(d, n): s for d, n, s in views.execute(f"SELECT dataset, dimension, score FROM governance.dimension_scores WHERE month = '{month}' AND score IS NOT NULL").fetchall()}
        assert given.keys() == wanted.keys() and agree(given.values(), [wanted[k] for k in given])
    held, total = views.execute("SELECT held, applicable FROM governance.indicator_scores WHERE month = '2026-11' AND dataset = ? AND source = 'market_regulation' AND indicator = '0401'",
                                [DATASETS[0]]).fetchone()
    mine = [r for r in rows if (r["month"], r["dataset"], r["source"], r["indicator"]) == ("2026-11", DATASETS[0], "market_regulation", "0401")]
    assert (held, total) == (sum(r["applicable"] - r["failed"] for r in mine), sum(r["applicable"] for r in mine))


def test_departments_from_their_own_rows(at, views):
    department = dict(((d, s), n) for d, s, n in views.execute("SELECT dataset, source, department FROM governance.sources").fetchall())
    rows = [r | {"department": department[r["dataset"], r["source"]]} for r in measured(at) if r["region"] is None]
    found = views.execute("SELECT month, department, score, mom, yoy FROM governance.department_scores").fetchall()
    assert {d for _, d, *_ in found} == {r["department"] for r in rows} and len({d for _, d, *_ in found}) == 2
    for month, name, *given in found:
        assert agree(given, compared(history([r for r in rows if r["department"] == name]), month)), (month, name)


def test_divisions_are_added_up_to_prefecture_and_province(at, views):
    rows = [r for r in measured(at) if r["region"] is not None and len(r["region"]) == 6 and r["region"].isdigit()]
    found = views.execute("SELECT month, region, level, score, mom, yoy FROM governance.region_scores WHERE score IS NOT NULL").fetchall()
    assert {level for _, _, level, *_ in found} == {"province", "city", "county"}
    digits = {"province": 2, "city": 4, "county": 6}
    for month, region, level, *given in found:
        mine = [r for r in rows if r["region"][:digits[level]] == region[:digits[level]] and r["region"][digits[level] - 2:digits[level]] != "00"]
        assert agree(given, compared(history(mine), month)), (month, region)
    assert views.execute("SELECT count(*) FROM governance.rule_counts WHERE region = ''").fetchone()[0] > 0, "records of no known division exist"


def test_a_batch_has_the_score_the_ledger_keeps(at, views):
    wrong = views.execute("""SELECT b.batch_id, b.score, s.score FROM governance.batches b JOIN governance.batch_scores s
        ON s.batch_id = b.batch_id AND s.revision = b.revision AND s.dimension = 'all'
        WHERE b.batch_date IN ('2026-09-01', '2026-10-01', '2026-11-01') AND round(s.score, 4) <> b.score""").fetchall()
    assert wrong == [] and views.execute("SELECT count(*) FROM governance.batch_scores WHERE dimension = 'all'").fetchone()[0] >= 8


def test_nothing_measured_is_no_score_and_no_check(views):
    idle = views.execute("SELECT score, checks FROM governance.indicator_scores WHERE applicable = 0").fetchall()
    assert idle and set(idle) == {(None, 0)}
    for view in ("dataset_scores", "dimension_scores", "department_scores", "region_scores"):
        assert views.execute(f"SELECT count(*) FROM governance.{view} WHERE (score IS NULL) <> (checks = 0)").fetchone()[0] == 0
    assert views.execute("SELECT DISTINCT maturity FROM governance.dataset_scores").fetchall() == [(None,)], "0102, 0103, … are not measured"
    assert "0502" in views.execute("SELECT lacking FROM governance.dataset_scores LIMIT 1").fetchone()[0]


def test_rules_over_a_month(at, views):
    rows = [r for r in measured(at) if r["region"] is None and r["dataset"] == DATASETS[0] and r["source"] == "market_regulation"]
    batches, applicable, failed, rate, outcome = views.execute(
        "SELECT batches, applicable, failed, pass_rate, outcome FROM governance.rule_scores WHERE month = '2026-11' AND rule = ?", [CHECK["rule"]]).fetchone()
    assert (batches, applicable, failed, rate, outcome) == (1, 10, 2, 0.8, "fail")
    october = views.execute("SELECT rule, batches, applicable, failed FROM governance.rule_scores WHERE month = '2026-10' AND dataset = ? AND source = 'market_regulation'",
                            [DATASETS[0]]).fetchall()
    for rule, batches, applicable, failed in october:
        mine = [r for r in rows if (r["month"], r["rule"]) == ("2026-10", rule)]
        assert (batches, applicable, failed) == (len(mine), sum(r["applicable"] for r in mine), sum(r["failed"] for r in mine)), rule
    assert {b for _, b, *_ in october} == {1, 2}, "the held batch counts with the accepted one"


def test_lights(views):
    assert set(r[0] for r in views.execute("SELECT DISTINCT light FROM governance.health_check").fetchall()) == {"green", "amber", "red", None}
    wrong = views.execute("""SELECT count(*) FROM governance.health_check h JOIN governance.scope_scores s USING (month, scope, subject, indicator)
        WHERE h.light = 'green' AND (s.failing > 0 OR s.warnings > 0 OR s.score < 0.95) OR h.light IS DISTINCT FROM 'red' AND s.failing > 0""").fetchone()[0]
    assert wrong == 0
