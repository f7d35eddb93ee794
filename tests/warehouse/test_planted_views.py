"""Views over tables made by hand: each planted case is found, each innocent neighbour is not.

Planted: a firm revoked three years ago (Q4); one that nobody is insured at and that is on the list (Q7); contributions due by agreement and by law
(Q9); a household on support that holds a firm (Q10); people who live where they are not registered (Q12); decisions sent late (Q14); penalties
past their time (Q15); what ends, and who turns 16, 60 or 80 (Q16); cohorts that survive (Q17); elements two departments collect (Q18);
numbers with two persons and persons with two numbers (Q19); one enterprise and one person seen from all sides.
"""
from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from pipelines import themes
from pipelines.settings import WrongUse
from tests.warehouse import documented
from tests.warehouse.hand import AS_OF, PROJECT, Hand

THEMES = [t for t in themes.themes(PROJECT) if t.schema != themes.GOVERNANCE]


def uscc(n: int, prefix: str = "91") -> str:
    return f"{prefix}640104{n:09d}X"


def firm(n: int, **more):
    return {"uscc": uscc(n), "name": f"宁夏第{n}号贸易有限公司", "status_code": "1", "region_code": "640104", "industry_section": "F", "entity_type_code": "1130",
            "establish_date": date(2020, 1, 1), **more}


@pytest.fixture(scope="module")
def made():
    hand = Hand()
    yield hand
    hand.close()


@pytest.fixture
def hand(made):
    made.clear()
    return made


def test_q4_three_years_are_over_on_the_day_after(hand):
    hand.put("legal_entity.enterprise", firm(1, status_code="2", status_date=date(2023, 10, 31)), firm(2, status_code="2", status_date=date(2023, 11, 1)),
             firm(3, status_code="3", status_date=date(2015, 1, 1)), firm(4, status_code="2"), firm(5, status_date=date(2015, 1, 1)))
    assert hand.ask("SELECT uscc, overdue_since, days_overdue FROM legal_entity.revoked_3y") == [(uscc(1), date(2026, 10, 31), 1)]


def test_q7_listed_and_nobody_insured_for_a_year(hand):
    hand.put("legal_entity.enterprise", *(firm(n) for n in range(1, 8)), firm(8, establish_date=date(2026, 1, 1)), firm(9, status_code="4"))
    for n in (1, 2, 3, 4, 5, 8, 9):
        hand.put("credit.abnormal_list", {"list_id": f"Y{n}", "uscc": uscc(n), "include_reason": "1", "include_date": date(2024, 7, 1)})
    hand.put("credit.abnormal_list", {"list_id": "R", "uscc": uscc(6), "include_reason": "1", "include_date": date(2024, 7, 1), "remove_date": date(2025, 7, 1)},
             {"list_id": "N", "uscc": uscc(7), "include_reason": "3", "include_date": date(2024, 7, 1)}, {"list_id": "Z", "uscc": uscc(1), "include_reason": "4", "include_date": date(2025, 12, 1)})
    hand.put("population.social_insurance", {"person_id": "a", "employer_uscc": uscc(2), "status_code": "1"},
             {"person_id": "b", "employer_uscc": uscc(3), "status_code": "4", "end_ym": "2025-11"}, {"person_id": "c", "employer_uscc": uscc(4), "status_code": "4", "end_ym": "2025-12"},
             {"person_id": "d", "employer_uscc": uscc(5), "status_code": "2"})
    assert hand.ask("SELECT uscc, last_insured_month, listings, reasons, years_listed FROM legal_entity.zombie ORDER BY 1") == [
        (uscc(1), None, 2, "1, 4", 2), (uscc(3), "2025-11", 1, "1", 2), (uscc(5), None, 1, "1", 2)]


def test_q9_due_by_agreement_or_by_law(hand):
    hand.put("legal_entity.enterprise", firm(1), firm(2, establish_date=date(2024, 7, 1)), firm(3, entity_type_code="1210"), firm(4, status_code="4"))
    held = [("agreed", 1, 100, 40, date(2026, 10, 31)), ("today", 1, 100, 40, AS_OF), ("paid", 1, 100, 100, date(2020, 1, 1)), ("not told", 1, 100, None, date(2020, 1, 1)),
            ("by law later", 1, 100, 0, date(2050, 1, 1)), ("joint stock", 3, 100, 0, None), ("gone", 4, 100, 0, date(2020, 1, 1)), ("new company", 2, 100, 0, date(2060, 1, 1))]
    hand.put("legal_entity.shareholder", *({"investment_id": i, "uscc": uscc(n), "subscribed": s, "paid": p, "subscribed_date": d} for i, n, s, p, d in held))
    assert hand.ask("SELECT investment_id, unpaid::INTEGER, due_on, due_basis, days_overdue FROM legal_entity.capital_overdue") == [("agreed", 60, date(2026, 10, 31), "agreed", 1)]
    hand.con.execute("UPDATE governance.datasets SET as_of = DATE '2032-07-01'")
    assert hand.ask("SELECT investment_id, due_on, due_basis FROM legal_entity.capital_overdue WHERE due_basis = 'statutory' ORDER BY 1") == [
        ("by law later", date(2032, 6, 30), "statutory"), ("new company", date(2029, 7, 1), "statutory")]


def test_q10_support_and_a_firm_in_one_household(hand):
    members = [("H1", "a"), ("H1", "b"), ("H1", "c"), ("H2", "d"), ("H2", "e"), ("H3", "f"), ("H4", "g")]
    hand.put("population.household_member", *({"household_no_pseudonym": h, "person_id": p, "region_code": "640104"} for h, p in members),
             {"household_no_pseudonym": "H3", "person_id": "h", "region_code": "640104", "leave_year": 2020})
    paid = [("a", "610", "2026-09", 500), ("a", "610", "2026-10", 500), ("a", "610", "2025-10", 500), ("d", "620", "2026-10", 100), ("f", "610", "2026-10", 300), ("g", "610", "2026-10", 300)]
    hand.put("population.benefit_payment", *({"person_id": p, "benefit_item": i, "fee_period": m, "amount": a} for p, i, m, a in paid))
    hand.put("legal_entity.enterprise", firm(1, legal_rep_person_id="b"), firm(2), firm(3, status_code="4", legal_rep_person_id="g"), firm(4, legal_rep_person_id="e"), firm(5, legal_rep_person_id="h"))
    hand.put("legal_entity.shareholder", {"investment_id": "1", "uscc": uscc(1), "investor_person_id": "b", "subscribed": 60, "paid": 30},
             {"investment_id": "2", "uscc": uscc(2), "investor_person_id": "c", "subscribed": 10, "paid": 10})
    assert hand.ask("SELECT household, members, supported, months_paid, last_period, amount::INTEGER, holders, enterprises, usccs, subscribed::INTEGER, paid::INTEGER FROM population.support_eligibility") == [
        ("H1", 3, 1, 2, "2026-10", 1000, 2, 2, [uscc(1), uscc(2)], 70, 40)]


def test_q12_registered_here_insured_there(hand):
    homes = [("640104", "640104", 20), ("640104", "640106", 12), ("640104", None, 15), ("640106", "640106", 30), ("640106", "640104", 11), ("640106", None, 10), (None, "640106", 10)]
    people = [(f"{home}{place}{n}", home, place) for home, place, count in homes for n in range(count)]
    hand.fill("population.person", "person_id, hukou_region_code", [(p, h) for p, h, _ in people if h])
    hand.fill("population.social_insurance", "person_id, region_code, start_ym, status_code", [(p, place, "2020-01", "1") for p, _, place in people if place])
    hand.put("population.social_insurance", {"person_id": people[0][0], "region_code": "640181", "start_ym": "2010-01", "status_code": "1"})      # an older one counts no second time
    assert hand.ask("SELECT region_code, registered, insured, registered_insured_here, registered_insured_elsewhere, registered_uninsured, insured_from_elsewhere, net_flow, suppressed, month "
                    "FROM population.population_flow ORDER BY 1") == [
        ("640104", 47, 31, 20, 12, 15, 11, -1, False, "2026-11"), ("640106", 51, 52, 30, 11, 10, 22, 11, False, "2026-11")]
    hand.con.execute("DELETE FROM population.person WHERE person_id = '640106None0'")
    assert hand.ask("SELECT registered, insured, registered_insured_here, registered_uninsured, net_flow, suppressed FROM population.population_flow WHERE region_code = '640106'") == [
        (50, 52, None, None, None, True)]


def test_q14_seven_and_twenty_working_days(hand):
    for dataset in ("licence", "penalty"):
        hand.put("governance.batches", *({"batch_id": f"{dataset}~{day}", "revision": 1, "dataset": f"credit.administrative_{dataset}", "source": "s", "part": "all", "batch_date": day, "state": "accepted"}
                                         for day in ("2026-09-01", "2026-10-12")))
    sent = [("2026-09-01", date(2026, 8, 1)), ("2026-10-12", date(2026, 10, 1)), ("2026-10-12", date(2026, 9, 30)), ("2026-10-12", date(2026, 9, 14)), ("2026-10-12", date(2026, 9, 11))]
    hand.put("credit.administrative_penalty", *({"decision_no": str(n), "agency_uscc": "11A", "agency_name": "局", "decision_date": d, "_batch": f"penalty~{b}"} for n, (b, d) in enumerate(sent)))
    # 2026-10-12 is a Monday: seven weekdays after Thursday 1 October, eight after the day before, 20 after 14 September, 21 after Friday 11 September.
    assert hand.ask("SELECT decision_month, records, stock, measured, late_7, late_20, median_days, most_days FROM credit.publicity_timeliness ORDER BY 1") == [
        ("2026-08", 1, 1, 0, 0, 0, None, None), ("2026-09", 3, 0, 3, 3, 1, 20.0, 21), ("2026-10", 1, 0, 1, 0, 0, 7.0, 7)]


def test_q15_past_the_day_given_or_the_longest_period(hand):
    given = [("own day", "罚款", date(2026, 1, 1), date(2026, 10, 31)), ("today", "罚款", date(2026, 1, 1), AS_OF), ("warning", "警告", date(2026, 7, 31), date(2030, 1, 1)), ("young warning", "警告", date(2026, 8, 2), None),
             ("confiscation", "警告；没收违法所得", date(2025, 10, 30), None), ("young confiscation", "没收非法财物", date(2025, 11, 2), None), ("fine", "警告；罚款", date(2023, 10, 31), None), ("young fine", "罚款", date(2023, 11, 2), None)]
    hand.put("credit.administrative_penalty", *({"decision_no": n, "penalty_kinds": k, "decision_date": d, "publish_until": u} for n, k, d, u in given))
    hand.put("credit.judgment_defaulter", {"case_no": "done", "performance_code": "3"}, {"case_no": "open", "performance_code": "1"})
    assert hand.ask("SELECT record_no, why, days_overdue FROM credit.publish_overdue ORDER BY 1") == [
        ("confiscation", "longest_period", 2), ("done", "performed", None), ("fine", "longest_period", 1), ("own day", "publish_until", 1), ("warning", "longest_period", 1)]


def test_q16_what_ends_within_ninety_days(hand):
    ends = [("yesterday", date(2026, 10, 31), "1"), ("today", AS_OF, "1"), ("30", date(2026, 12, 1), "1"), ("31", date(2026, 12, 2), "1"), ("90", date(2027, 1, 30), "1"), ("91", date(2027, 1, 31), "1"), ("void", AS_OF, "2")]
    hand.put("credit.administrative_licence", *({"licence_no": n, "valid_to": d, "status_code": s} for n, d, s in ends))
    hand.put("legal_entity.enterprise", firm(1, term_to=date(2026, 12, 31)), firm(2, term_to=date(2026, 12, 31), status_code="4"))
    assert hand.ask("SELECT coalesce(licence_no, uscc), days_left, due_within FROM credit.proactive_service ORDER BY 2") == [("today", 0, 30), ("30", 30, 30), ("31", 31, 60), (uscc(1), 60, 60), ("90", 90, 90)]


def test_q16_who_turns_sixteen_sixty_and_eighty(hand):
    born = {2010: 12, 2011: 15, 2009: 10, 1966: 11, 1967: 9, 1968: 30, 1946: 40, 1944: 3, 1947: 20, 1950: 20}
    hand.fill("population.person", "person_id, hukou_region_code, birth_year", [(f"{y}-{n}", "640104", y) for y, count in born.items() for n in range(count)])
    # 1967 is small, so it is hidden with the smallest other cell of 55–59, the rest; 1946 would give the three of 1944 away.
    assert hand.ask("SELECT turns, in_year, persons, suppressed FROM population.proactive_service ORDER BY 1, 2") == [
        (16, 2026, 12, False), (16, 2027, 15, False), (60, 2026, 11, False), (60, 2027, None, True), (80, 2026, None, True), (80, 2027, 20, False)]


def test_q17_cohorts_and_whether_they_live(hand):
    born, gone = date(2022, 5, 10), {1: None, 2: date(2023, 5, 9), 3: date(2023, 5, 10), 4: date(2024, 6, 1), 5: date(2025, 12, 1)}
    hand.put("legal_entity.enterprise", *(firm(n, establish_date=born, status_code="4" if d else "1", status_date=d) for n, d in gone.items()), firm(6, establish_date=date(2025, 3, 1)),
             firm(7, establish_date=born, status_code="4"), firm(8, establish_date=born, status_code="9"))
    assert hand.ask("SELECT year, entries, exits, survival_12, survival_24, survival_36, section FROM legal_entity.industry_dynamics ORDER BY 1") == [
        (2022, 6, 0, 0.8, 0.6, 0.4, "批发和零售业"), (2023, 0, 2, None, None, None, "批发和零售业"), (2024, 0, 1, None, None, None, "批发和零售业"), (2025, 1, 1, None, None, None, "批发和零售业")]
    assert hand.ask("SELECT month, entries, revoked, closed, active FROM legal_entity.enterprise_demography ORDER BY 1") == [
        ("2022-05", 5, 0, 0, 5), ("2023-05", 0, 0, 2, 3), ("2024-06", 0, 0, 1, 2), ("2025-03", 1, 0, 0, 3), ("2025-12", 0, 0, 1, 2)]


def test_q18_one_element_from_two_departments(hand):
    hand.con.execute("DELETE FROM governance.columns; DELETE FROM governance.sources; DELETE FROM governance.checks")
    hand.put("governance.columns", {"dataset": "a.x", "column": "sex", "zh": "性别", "semantic_type": "code", "code_list": "sex", "primary_key": False},
             {"dataset": "b.y", "column": "sex_code", "zh": "性别", "semantic_type": "code", "code_list": "sex", "primary_key": False},
             {"dataset": "a.x", "column": "note", "zh": "备注", "semantic_type": "text", "primary_key": False}, {"dataset": "b.y", "column": "note", "zh": "备注", "semantic_type": "narrative", "primary_key": False})
    hand.put("governance.sources", {"dataset": "a.x", "source": "p", "department": "公安厅"}, {"dataset": "b.y", "source": "q", "department": "民政厅"}, {"dataset": "b.y", "source": "r", "department": "公安厅"})
    hand.put("governance.checks", {"dataset": "b.y", "column": "sex_code", "kind": "agreement", "as_of": "2026-10-01", "applicable": 10, "failed": 10},
             {"dataset": "b.y", "column": "sex_code", "kind": "agreement", "as_of": "2026-11-01", "applicable": 200, "failed": 5})
    assert hand.ask("FROM governance.duplicate_collection ORDER BY 1") == [
        ("备注", "narrative", None, False, 1, 2, "b.y.note", "公安厅、民政厅", None), ("性别", "code", "sex", False, 2, 2, "a.x.sex, b.y.sex_code", "公安厅、民政厅", 0.975)]


def test_q19_one_number_two_persons_and_the_other_way_round(hand):
    hand.put("population.person", {"person_id": "a", "sex_code": "1", "birth_year": 1970}, {"person_id": "b", "sex_code": "2", "birth_year": 1980}, {"person_id": "c", "sex_code": "2", "birth_year": 1980})
    hand.put("credit.judgment_defaulter", {"person_id": "a", "sex_code": "2", "birth_year": 1971}, {"person_id": "b", "sex_code": "2", "birth_year": None}, {"person_id": "b", "birth_year": 1980})
    hand.put("population.household_member", {"person_id": "b", "household_no_pseudonym": "H1"}, {"person_id": "b", "household_no_pseudonym": "H2"}, {"person_id": "c", "household_no_pseudonym": "H1"},
             {"person_id": "c", "household_no_pseudonym": "H2", "leave_year": 2020})
    hand.put("population.social_insurance", {"person_id": "c", "person_no_pseudonym": "N1", "insurance_type": "11"}, {"person_id": "c", "person_no_pseudonym": "N1", "insurance_type": "31"},
             {"person_id": "d", "person_no_pseudonym": "N2"}, {"person_id": "e", "person_no_pseudonym": "N2"}, {"person_id": "e", "person_no_pseudonym": "N3"})
    hand.put("population.death", {"person_id": "f", "certificate_no_pseudonym": "C", "source_kind": "health"}, {"person_id": "g", "certificate_no_pseudonym": "C", "source_kind": "health"},
             {"person_id": "f", "certificate_no_pseudonym": "D", "source_kind": "civil_affairs"})
    assert hand.ask("SELECT person_id, sign, evidence, other_person_id FROM population.identity_conflict ORDER BY ALL") == [
        ("a", "birth_year", "1970 / 1971", None), ("a", "sex", "1 / 2", None), ("b", "two_households", "2", None), ("d", "shared_insurance_number", None, "e"), ("e", "shared_insurance_number", None, "d"),
        ("e", "two_insurance_numbers", "2", None), ("f", "shared_death_certificate", None, "g"), ("g", "shared_death_certificate", None, "f")]


def test_an_enterprise_from_all_sides(hand):
    hand.put("legal_entity.enterprise", firm(1, legal_rep_person_id="a"), firm(2))
    hand.put("legal_entity.shareholder", {"uscc": uscc(1), "investor_type": "1", "subscribed": 60, "paid": 30}, {"uscc": uscc(1), "investor_type": "2", "investor_uscc": uscc(2), "subscribed": 40})
    hand.put("legal_entity.key_person", {"uscc": uscc(1), "person_id": "a"}, {"uscc": uscc(1), "person_id": "a"}, {"uscc": uscc(1), "person_id": "b", "end_date": date(2026, 10, 31)})
    hand.fill("population.social_insurance", "person_id, employer_uscc, status_code", [(str(n), uscc(1), "1") for n in range(10)] + [(str(n), uscc(2), "1") for n in range(9)])
    org = uscc(1)[8:17]
    hand.put("credit.administrative_licence", {"uscc": uscc(1), "status_code": "1", "valid_to": AS_OF, "licence_name": "证", "decision_no": "L1", "decision_date": date(2024, 1, 1)},
             {"org_code": org, "status_code": "1", "licence_name": "证", "decision_no": "L2", "decision_date": date(2024, 1, 2)}, {"uscc": uscc(1), "status_code": "2"})
    hand.put("credit.administrative_penalty", {"uscc": uscc(1), "fine_amount": 1, "decision_date": date(2026, 1, 1), "decision_no": "P1"}, {"org_code": org, "fine_amount": 2, "decision_date": date(2025, 1, 1), "decision_no": "P2"})
    hand.put("credit.abnormal_list", {"uscc": uscc(1), "include_date": date(2025, 5, 1), "list_id": "A1", "include_reason": "4"})
    hand.put("credit.judgment_defaulter", {"org_code": org, "performance_code": "2", "filing_date": date(2025, 6, 1), "case_no": "D1"})
    assert hand.ask("SELECT shareholders, natural_shareholders, subscribed::INTEGER, paid::INTEGER, investments, officers, insured, insured_suppressed, licences, live_licences, penalties, fines::INTEGER, last_penalty_date, "
                    "listings, open_listings, open_defaults, match_level FROM legal_entity.enterprise_360 ORDER BY uscc") == [
        (2, 1, 100, 30, 0, 1, 10, False, 3, 2, 2, 3, date(2026, 1, 1), 1, 1, 1, "bridge"), (0, 0, None, None, 1, 0, None, True, 0, 0, 0, 0, None, 0, 0, 0, "exact")]
    assert hand.ask("SELECT licences, live_licences, next_expiry, penalties, penalties_12_months, fines::INTEGER, open_listings, attention FROM credit.supervision") == [(2, 1, AS_OF, 1, 1, 1, 1, 3)]
    assert hand.ask(f"SELECT event_date, event, record_no, match_level FROM credit.credit_timeline WHERE uscc = '{uscc(1)}' ORDER BY 1, 2") == [
        (date(2020, 1, 1), "established", None, "exact"), (date(2024, 1, 1), "licence_granted", "L1", "exact"), (date(2024, 1, 2), "licence_granted", "L2", "bridge"),
        (date(2025, 1, 1), "penalised", "P2", "bridge"), (date(2025, 5, 1), "listed", "A1", "exact"), (date(2025, 6, 1), "default_filed", "D1", "bridge"),
        (date(2026, 1, 1), "penalised", "P1", "exact"), (AS_OF, "licence_expires", "L1", "exact")]


def test_a_person_from_all_sides(hand):
    hand.put("population.person", {"person_id": "a", "sex_code": "1", "birth_year": 1944, "hukou_region_code": "640104", "household_no_pseudonym": "H"}, {"person_id": "b", "cancel_flag": "1"})
    hand.put("population.household_member", {"household_no_pseudonym": "H", "person_id": "a"}, {"household_no_pseudonym": "H", "person_id": "x"}, {"household_no_pseudonym": "H", "person_id": "y", "leave_year": 2020})
    hand.put("population.death", {"person_id": "b", "death_month": "2026-03", "source_kind": "health"}, {"person_id": "b", "death_month": "2026-04", "source_kind": "public_security"})
    hand.put("population.social_insurance", {"person_id": "a", "insurance_type": "31", "start_ym": "2020-01", "status_code": "1", "region_code": "640106", "employer_uscc": uscc(1)},
             {"person_id": "a", "insurance_type": "11", "start_ym": "2010-01", "status_code": "1", "region_code": "640104"}, {"person_id": "a", "insurance_type": "21", "start_ym": "2010-01", "status_code": "1", "end_ym": "2026-10"})
    hand.put("population.benefit_payment", {"person_id": "a", "benefit_item": "110", "fee_period": "2026-10", "amount": 5}, {"person_id": "a", "benefit_item": "110", "fee_period": "2025-11", "amount": 7})
    hand.put("legal_entity.enterprise", firm(1, legal_rep_person_id="a"), firm(2, status_code="4", legal_rep_person_id="a"))
    hand.put("legal_entity.key_person", {"uscc": uscc(1), "person_id": "a"}, {"uscc": uscc(2), "person_id": "a"})
    hand.put("legal_entity.shareholder", {"uscc": uscc(1), "investor_person_id": "a"}, {"uscc": uscc(1), "investor_person_id": "a"})
    hand.put("credit.judgment_defaulter", {"person_id": "a", "performance_code": "1"}, {"person_id": "a", "performance_code": "3"})
    assert hand.ask("SELECT person_id, registered, household_members, death_month, death_sources, insurances, insured_region_code, employers, benefits, benefit_months, benefit_amount, represents, offices, holdings, open_defaults "
                    "FROM population.person_360 ORDER BY 1") == [
        ("a", True, 2, None, 0, "11, 31", "640106", 1, "110", 1, Decimal("5.00"), 1, 1, 1, 1), ("b", False, 0, "2026-04", 2, None, None, 0, None, 0, Decimal("0"), 0, 0, 0, 0)]
    assert hand.ask("SELECT person_id, benefit, turned_in, certain FROM population.benefit_eligibility") == [("a", "old_age_allowance", 2024, True)]


def test_every_lead_says_rule_match_level_and_date(hand):
    assert len(THEMES) == 25
    for theme in THEMES:
        columns = [c for c, _ in theme.columns]
        assert (columns[0], columns[-2:]) == ("rule_id", ["match_level", "as_of"]), theme.id
        asked = theme.comment.partition("规则 rule: ")[2].partition("：")[0]
        assert f"'{asked}.{theme.name}' AS rule_id" in theme.sql, f"{theme.id}: its rule speaks of {asked}"


def test_what_a_select_reads_is_told_without_its_macros():
    assert themes.reads("WITH a AS (SELECT some_macro(x) FROM s.t) SELECT (SELECT max(y) FROM u.v) FROM a JOIN w ON other_macro(w.z) WHERE EXISTS (FROM x.y)") == {"s.t", "u.v", "w", "x.y"}
    for wrong in ("SELECT FROM WHERE", "DROP TABLE s.t"):
        with pytest.raises(WrongUse, match="is not SQL"):
            themes.reads(wrong)


def test_the_document_says_what_the_headers_say():
    given = documented.DOCUMENT.read_text(encoding="utf-8")
    assert documented.written(given) == given, "run: python -m tests.warehouse.documented"
    assert all(f"`{t.id}`" in given for t in THEMES)
