"""The theme views over a hand-made release: each planted case is a lead, each innocent neighbour is not.

Planted: a defaulter who is legal representative (Q1); a revoked firm with a live licence by code and by organisation
code (Q3); a pension paid after death with sources that disagree (Q5); a dead shareholder, officer and insured (Q6);
one person with five firms and ten firms at one address (Q8); penalties whose subject is not found by its code (Q13).
"""
from __future__ import annotations

import duckdb
import pytest

from pipelines import compiler, governance, release, themes
from pipelines.contract import datasets
from pipelines.semantics import reference
from pipelines.settings import Project
from pipelines.sql import connect, name
from tests.states import state
from tests.support import REPOSITORY, desk, resident_id

THEMES = themes.themes(Project(REPOSITORY))
P = [resident_id(n) for n in range(1, 10)]


def firm(n, **more):
    return {"uscc": f"9164010000000{n:04d}X", "name": f"宁夏第{n}号贸易有限公司", "status_code": "1", "region_code": "640104", "entity_type_code": "1130",
            "establish_date": "2020-01-01", "org_code": f"00000{n:04d}", **more}


def penalty(n, **more):
    return {"subject_name": f"无名{n}", "subject_kind": "1", "decision_no": f"罚{n}", "agency_uscc": "11640000MB1Y00054Y", "decision_date": "2026-01-01", **more}


ROWS = {
    "legal_entity.enterprise": [
        firm(1, legal_rep_id_number=P[1]), firm(2, legal_rep_id_number=P[1], status_code="2"), firm(3, status_code="2"), firm(4, reg_no="640100000000004"),
        firm(5, former_names="银川旧名商行；宁夏更旧商行"), *[firm(10 + n, legal_rep_id_number=P[2]) for n in range(5)],
        *[firm(20 + n, address="银川市 兴庆区解放街１号（1801室）") for n in range(10)], firm(40, name="宁夏塞上明珠商贸有限公司"),
        firm(50, legal_rep_id_number=P[3], entity_type_code="9500", address="银川市兴庆区解放街１号1801室")],
    "legal_entity.key_person": [
        {"uscc": firm(4)["uscc"], "id_number": P[4], "position_code": "431A", "is_legal_rep": "0"},
        {"uscc": firm(3)["uscc"], "id_number": P[4], "position_code": "431A", "is_legal_rep": "0"},
        {"uscc": firm(1)["uscc"], "id_number": P[1], "position_code": "432A", "is_legal_rep": "1"},
        {"uscc": firm(5)["uscc"], "id_number": P[1], "position_code": "432A", "is_legal_rep": "1", "end_date": "2020-01-01"}],
    "legal_entity.shareholder": [
        {"investment_id": "1", "uscc": firm(1)["uscc"], "investor_type": "1", "investor_id_number": P[4], "ratio": 30},
        {"investment_id": "2", "uscc": firm(3)["uscc"], "investor_type": "1", "investor_id_number": P[4], "ratio": 30}],
    "credit.judgment_defaulter": [
        {"case_no": "1", "debtor_name": "甲", "debtor_kind": "1", "id_number": P[1], "performance_code": "1", "court": "银川市兴庆区人民法院"},
        {"case_no": "2", "debtor_name": "甲", "debtor_kind": "1", "id_number": P[1], "performance_code": "3"},
        {"case_no": "3", "debtor_name": "乙", "debtor_kind": "1", "id_number": P[5], "performance_code": "1"}],
    "credit.administrative_licence": [
        {**penalty(1), "subject_name": "a", "uscc": firm(2)["uscc"], "status_code": "1", "valid_to": "2027-01-01", "licence_no": "L1"},
        {**penalty(2), "subject_name": "b", "org_code": firm(3)["org_code"], "status_code": "1", "licence_no": "L2"},
        {**penalty(3), "subject_name": "c", "uscc": firm(2)["uscc"], "status_code": "1", "valid_to": "2026-10-31", "licence_no": "L3"},
        {**penalty(4), "subject_name": "d", "uscc": firm(1)["uscc"], "status_code": "1", "licence_no": "L4"}],
    "credit.administrative_penalty": [
        penalty(1, uscc=firm(1)["uscc"]), penalty(2, org_code=firm(4)["org_code"]), penalty(3, reg_no="640100000000004"),
        penalty(4, subject_name="宁夏更旧商行"), penalty(5, subject_name="宁夏塞上明株商贸有限公司"), penalty(6, uscc="11640000MB1Y00054Y"),
        penalty(7), penalty(8, subject_name=firm(5)["name"]), penalty(9, subject_kind="2", subject_name="张三丰")],
    "population.death": [
        {"id_number": P[4], "source_kind": "health", "death_date": "2026-03-10"}, {"id_number": P[4], "source_kind": "public_security", "death_date": "2026-04-02"},
        {"id_number": P[6], "source_kind": "health", "death_date": "2026-05-10"}],
    "population.benefit_payment": [
        {"payment_id": str(n), "id_number": person, "benefit_item": "110", "fee_period": month, "amount": 100, "region_code": "640104"}
        for n, (person, month) in enumerate([(P[4], "2026-03"), (P[4], "2026-04"), (P[4], "2026-05"), (P[4], "2026-06"), (P[6], "2026-05"), (P[7], "2026-06")])],
    "population.social_insurance": [
        {"id_number": P[4], "insurance_type": "11", "start_ym": "2010-01", "status_code": "1"},
        {"id_number": P[6], "insurance_type": "11", "start_ym": "2010-01", "status_code": "1", "end_ym": "2026-04"},
        {"id_number": P[7], "insurance_type": "11", "start_ym": "2010-01", "status_code": "1"}],
    "population.person": [{"id_number": P[1], "name": "甲"}],
}

PLANTED = ("credit.legal_rep_defaulter", "credit.unmatched_records", "legal_entity.dead_entity_live_licence", "legal_entity.shell_cluster", "population.benefit_after_death",
           "population.dead_active_role")


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    at = desk(tmp_path_factory.mktemp("views"))
    plans = {d.id: compiler.plan(d, ()) for d in datasets(at.project)}
    states = {d: state(at.lake, plans[d], rows) for d, rows in ROWS.items()}
    done = release.publish(at.lake, at.project, plans, states, at.ledger, "test")
    assert done["left_out"] == {} and done["views"] == len(THEMES)
    con = duckdb.connect(str(at.lake.database), read_only=True)
    yield con
    con.close()


def ask(lake, sql):
    return lake.execute(sql).fetchall()


def test_q1_legal_rep_defaulter(lake):
    assert ask(lake, "SELECT uscc, case_no, shown_by, performance, match_level, as_of::VARCHAR FROM credit.legal_rep_defaulter") == [
        (firm(1)["uscc"], "1", "enterprise, key_person", "全部未履行", "exact", "2026-11-01")]


def test_q3_dead_entity_live_licence(lake):
    assert ask(lake, "SELECT uscc, licence_no, match_level, status FROM legal_entity.dead_entity_live_licence ORDER BY 2") == [
        (firm(2)["uscc"], "L1", "exact", "吊销，未注销"), (firm(3)["uscc"], "L2", "bridge", "吊销，未注销")]


def test_q5_benefit_after_death(lake):
    assert ask(lake, "SELECT death_month, earliest_death_month, death_sources, sources_agree, months_paid, first_period, last_period, amount::INTEGER "
                     "FROM population.benefit_after_death") == [
        ("2026-04", "2026-03", "health, public_security", False, 2, "2026-05", "2026-06", 200)]


def test_q6_dead_active_role(lake):
    assert ask(lake, "SELECT role, organisation, evidence FROM population.dead_active_role ORDER BY ALL") == [
        ("insured", None, "企业职工基本养老保险"), ("officer", firm(4)["uscc"], "董事长"), ("shareholder", firm(1)["uscc"], "30.00 %")]


def test_q8_shell_cluster(lake):
    assert ask(lake, "SELECT cluster_kind, enterprise_count, match_level, len(usccs) FROM legal_entity.shell_cluster ORDER BY 1") == [
        ("address", 10, "candidate", 10), ("person", 5, "exact", 5)]


def test_q13_unmatched_records(lake):
    assert ask(lake, "SELECT decision_no, why, match_level, matched_uscc FROM credit.unmatched_records WHERE record_kind = 'penalty' ORDER BY 1") == [
        ("罚2", "org_code", "bridge", firm(4)["uscc"]), ("罚3", "reg_no", "bridge", firm(4)["uscc"]),
        ("罚4", "former_name", "candidate", firm(5)["uscc"]), ("罚5", "similar_name", "candidate", firm(40)["uscc"]),
        ("罚6", "other_register", "none", None), ("罚7", "not_found", "none", None), ("罚8", "name", "candidate", firm(5)["uscc"])]


def test_every_lead_says_rule_match_level_and_date(lake):
    for theme in (t for t in THEMES if t.schema != themes.GOVERNANCE):
        found = ask(lake, f"SELECT rule_id, match_level, as_of FROM {name(theme.schema)}.{name(theme.name)}")
        assert all(r.endswith(f".{theme.name}") and m in ("exact", "bridge", "candidate", "none") and d for r, m, d in found), theme.id
        assert found or theme.id not in PLANTED, theme.id


def test_views_bind_over_the_contracts_alone():
    project = Project(REPOSITORY)
    con = connect()
    reference.load(con, project)
    reference.load_macros(con, project)
    plans = [compiler.plan(d, ()) for d in datasets(project)]
    assert [error for _, error in themes.check(con, project, plans)] == [None] * len(THEMES)
    con.close()


def test_every_governance_column_has_its_words_once():
    used = {c for table in governance.TABLES.values() for c, _ in table.columns}
    assert used == set(governance.COMMENTS)
    assert all(zh and en for zh, en in governance.COMMENTS.values())
