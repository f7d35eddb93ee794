"""Rules that read other datasets, over hand-made states: counts per source and region, the stop of a release, what is refused.

Planted: a payment after death, one person with two numbers, a penalty that only a former name explains and one that nothing does,
sources of deaths that disagree, shares that do not add up, an insurance that starts after its employer's end, an investor and an agency nobody registered.
"""
from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from pipelines import check, checks, compiler, ledger_tables as tables, steps
from pipelines.checks import across
from pipelines.contract import datasets
from pipelines.rules import rules
from pipelines.settings import Project, WrongUse
from tests.pipelines.checks.conftest import DATASET, person, send
from tests.states import state
from tests.support import REPOSITORY, RESIDENCE, desk, project, resident_id

P = [resident_id(n) for n in range(1, 12)]
FIRM = [f"9164010000000{n:04d}X" for n in range(6)]
ROWS = {
    "population.person": [{"id_number": P[n], "name": f"人{n}", "birth_date": "1990-01-01", "sex_code": "1", "household_no": f"H{n}", "hukou_region_code": "640104"}
                          for n in range(6)] + [{"id_number": P[9], "name": "人0", "birth_date": "1990-01-01", "sex_code": "1", "household_no": "H0", "hukou_region_code": "640105"}],
    "population.death": [
        {"id_number": P[1], "source_kind": "health", "name": "人1", "death_date": "2026-03-10", "region_code": "640104", "registered_date": "2026-03-12"},
        {"id_number": P[1], "source_kind": "civil_affairs", "name": "人1", "death_date": "2026-03-11", "region_code": "640104", "registered_date": "2026-03-12"},
        {"id_number": P[2], "source_kind": "health", "name": "人2", "death_date": "2026-05-10", "region_code": "640105", "registered_date": "2026-05-12"},
        {"id_number": P[2], "source_kind": "public_security", "name": "人2", "death_date": "2026-05-10", "region_code": "640105", "registered_date": "2026-05-12"}],
    "population.benefit_payment": [
        {"payment_id": f"F{n}", "id_number": who, "name": f"人{P.index(who)}", "benefit_item": "110", "fee_period": month, "amount": 100, "region_code": "640104"}
        for n, (who, month) in enumerate([(P[1], "2026-03"), (P[1], "2026-04"), (P[3], "2026-04"), (P[10], "2026-04")])],
    "legal_entity.enterprise": [{"uscc": FIRM[0], "name": "宁夏甲有限公司", "former_names": "宁夏旧甲有限公司；宁夏更旧甲有限公司", "reg_capital": 50, "region_code": "640104"},
                                {"uscc": FIRM[1], "name": "宁夏乙有限公司", "reg_capital": 50, "region_code": "640104"},
                                {"uscc": FIRM[2], "status_code": "4", "status_date": "2026-05-20"}, {"uscc": FIRM[3], "status_code": "2", "status_date": "2026-05-20"},
                                {"uscc": "11640000MB1Y00011H", "name": "宁夏甲厅"}],
    "legal_entity.shareholder": [      # investors: registered, not registered, of a division that the register does not have, a person
        {"investment_id": "1", "uscc": FIRM[0], "ratio": 60, "subscribed": 30, "investor_uscc": FIRM[1]},
        {"investment_id": "2", "uscc": FIRM[0], "ratio": 40, "subscribed": 20, "investor_uscc": FIRM[5]},
        {"investment_id": "3", "uscc": FIRM[1], "ratio": 60, "subscribed": 30, "investor_uscc": "91350100M000100Y43"}, {"investment_id": "4", "uscc": FIRM[2]}],
    "population.social_insurance": [      # employers: deregistered before, in the month, after; licence revoked only; nobody knows it
        {"id_number": P[n], "insurance_type": "110", "start_ym": month, "employer_uscc": firm, "region_code": "640104"}
        for n, (firm, month) in enumerate([(FIRM[2], "2026-06"), (FIRM[2], "2026-05"), (FIRM[2], "2026-04"), (FIRM[3], "2026-06"), (FIRM[4], "2026-06")])],
    "credit.administrative_penalty": [
        {"decision_no": "1", "subject_kind": "1", "uscc": FIRM[0], "subject_name": "宁夏甲有限公司", "agency_uscc": "11640000MB1Y00011H"},
        {"decision_no": "2", "subject_kind": "1", "subject_name": "宁夏更旧甲有限公司", "agency_uscc": "11640000MB1Y00054Y"},
        {"decision_no": "3", "subject_kind": "1", "uscc": FIRM[4], "subject_name": "查无此户", "agency_uscc": "11640100MB1Y00062Y"}, {"decision_no": "4", "subject_kind": "2", "subject_name": "张三"},
        {"decision_no": "5", "subject_kind": "1", "uscc": FIRM[1], "subject_name": "宁夏甲有限公司"}],
}
EXPECTED = {      # rule → (applicable, failed), counted by hand
    ("population.person", "person_has_one_number"): (7, 2), ("population.person", "dead_are_cancelled"): (2, 2),
    ("population.death", "sources_agree_on_date"): (4, 2), ("population.death", "name_agrees_with_register"): (4, 0), ("population.death", "dead_was_registered"): (4, 0),
    ("population.benefit_payment", "not_paid_after_death"): (4, 1), ("population.benefit_payment", "payee_is_registered"): (4, 1),
    ("population.benefit_payment", "name_agrees_with_register"): (3, 0), ("population.benefit_payment", "paid_once_in_all_batches"): (4, 0),
    ("legal_entity.shareholder", "ratios_sum_to_100"): (3, 1), ("legal_entity.shareholder", "subscribed_sums_to_capital"): (3, 1),
    ("legal_entity.shareholder", "enterprise_is_registered"): (4, 0), ("legal_entity.shareholder", "corporate_investor_is_registered"): (2, 1),
    ("population.social_insurance", "employer_open_at_start"): (4, 1), ("credit.administrative_penalty", "agency_is_registered"): (2, 1),
    ("credit.administrative_penalty", "subject_is_registered"): (4, 1), ("credit.administrative_penalty", "name_agrees_with_register"): (2, 1)}


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """(desk, plans, states, results) of the rows above."""
    at = desk(tmp_path_factory.mktemp("across"))
    plans = {d.id: compiler.plan(d, rules(d, at.project)) for d in datasets(at.project)}
    states = {d: state(at.lake, plans[d], rows) for d, rows in ROWS.items()}
    return at, plans, states, checks.judge(at, plans, states, as_of="2026-11-02")


def test_every_rule_counts_what_was_planted(judged):
    found = {(r["dataset"], r["rule"]): (r["applicable"], r["failed"]) for r in judged[3] if r["kind"] == "across" and r["applicable"]}
    assert {k: found.get(k) for k in EXPECTED} == EXPECTED


def test_results_stand_by_source_and_region_and_say_who_must_mend(judged):
    at, _, _, rows = judged
    [one] = [r for r in rows if r["rule"] == "not_paid_after_death" and r["applicable"]]
    assert (one["source"], one["as_of"], one["owner"], one["severity"], one["indicator"], one["outcome"]) == (
        "social_security", "2026-11-01", "宁夏回族自治区人力资源和社会保障厅", "warn", "0402", "fail")
    n = tables.check_counts
    counts = at.ledger.rows(sa.select(n.c.region, n.c.applicable, n.c.failed).where(n.c.rule == "person_has_one_number").order_by(n.c.region))
    assert [tuple(r.values()) for r in counts] == [("640104", 6, 1), ("640105", 1, 1)]


def test_nothing_is_measured_against_a_dataset_that_holds_nothing(judged):
    rows = {r["rule"]: r for r in judged[3] if r["dataset"] == "population.person"}
    assert rows["household_agrees_with_members"]["outcome"] == "not_measured"


def test_great_expectations_shows_the_suite_and_no_value(judged):
    docs = judged[0].lake.reports / "gx" / "credit.administrative_penalty" / "docs"
    pages = "".join(p.read_text("utf-8") for p in docs.rglob("*.html"))
    assert "行政相对人名称是登记名称或曾用名" in pages and "credit.administrative_penalty~across" in pages
    assert not any(value in pages for value in (*P, *FIRM, "宁夏甲有限公司"))


def test_the_same_versions_are_not_judged_twice(judged, monkeypatch):
    at, plans, states, rows = judged
    monkeypatch.setattr(across.suite, "run", lambda *_: pytest.fail("judged again"))
    assert checks.judge(at, plans, states, as_of="2026-11-02") == rows


BLOCKING = """
- rule: one_home
  zh: 一人一处
  en: one place each
  reads: [population.residence]
  holds: (select count(*) from population.residence r where r.name = own.name) = 1
  indicator: "0304"
  severity: block
  at_least: 0.9
  owner: 公安局
  reason: 试验
  with: {population.residence: [{name: 王芳}, {name: 王芳}, {name: 李四}]}
  must_fail: {name: 王芳}
  must_pass: {name: 李四}
"""


def test_a_blocking_rule_stops_the_release_until_it_holds(lake, tmp_path):
    at = lake(rules=BLOCKING)
    send(at, tmp_path, "2026-01-01", [person(1, name="赵一"), person(2, name="钱二")])
    first = steps.release(at)
    accepted = send(at, tmp_path, "2026-02-01", [person(1, name="赵一"), person(2, name="赵一"), person(3, name="钱二")])
    assert len(accepted) == 1, "the rule holds no batch"
    with pytest.raises(checks.ReleaseStopped, match=r"2 of 3 rows \(66.7 %\) fail one_home.*at least 90 %.*公安局"):
        steps.release(at)
    assert tables.releases is not None and [r["release_id"] for r in at.ledger.rows(sa.select(tables.releases))] == [first["release_id"]]
    [row] = [r for r in checks.newest(at, [DATASET]) if r["kind"] == "across" and r["source"] == "police"]
    assert (row["as_of"], row["failed"], row["outcome"]) == ("2026-02-01", 2, "fail")
    send(at, tmp_path, "2026-03-01", [person(1, name="赵一"), person(3, name="钱二")])
    assert steps.release(at)["release_id"] == first["release_id"] + 1
    steps_made = [(r["step"], r["outcome"]) for r in at.ledger.rows(sa.select(tables.steps)) if r["subject"] == "release"]
    assert ("checks", "ReleaseStopped") in steps_made


@pytest.mark.parametrize(("wrong", "right", "says"), [
    ("severity: block", "severity: reject", "must be warn or block"), ("reads: [population.residence]", "reads: []", "reads nothing"),
    ("reads: [population.residence]", "reads: [population.nobody]", "population.nobody"), ("{name: 李四}]", "{nome: 李四}]", "nome"),
    ("must_fail: {name: 王芳}", "must_fail: {name: 李四}", "its must_fail row passes"), ("  with: {pop", "  on_breach: hold\n  with: {pop", "leave on_breach out"),
    ("from population.residence r", "from population.residences r", "its SQL reads population.residences")])
def test_check_refuses_what_cannot_be_judged(tmp_path, wrong, right, says):
    made = project(tmp_path, population__residence=RESIDENCE.replace("LOAD", "upsert"))
    file = made.expectations / "population/residence.yaml"
    file.parent.mkdir()
    assert wrong in BLOCKING
    file.write_text(BLOCKING.replace(wrong, right), encoding="utf-8")
    try:
        errors = check.check(made)["errors"]
    except WrongUse as error:
        errors = [str(error)]
    assert says in "\n".join(errors)


def test_every_rule_across_datasets_is_in_the_catalogue_of_rules(judged):
    from pipelines import governance

    listed = {(r["dataset"], r["rule"]): r for plan in judged[1].values() for r in governance._rules(plan)}
    declared = {(d.id, rule.rule): rule for d in datasets(Project(REPOSITORY)) for rule in rules(d) if rule.reads}
    assert len(declared) >= 35
    assert {k: listed[k]["reads"] for k in declared} == {k: ", ".join(rule.reads) for k, rule in declared.items()}


def test_the_detail_names_what_was_read(judged):
    assert {tuple(json.loads(r["detail"])["reads"]) for r in judged[3] if r["rule"] == "subscribed_sums_to_capital"} == {
        ("legal_entity.shareholder", "legal_entity.enterprise")}
