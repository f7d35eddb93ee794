"""Every view on the sample, against an answer computed here in plain Python from the published rows."""
from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, timedelta

import duckdb
import pytest

from tests.warehouse.hand import AS_OF
from tests.warehouse.published import Sample, after, ends, grouped, rows

MONTH, YEAR_AGO = f"{AS_OF:%Y-%m}", "2025-11"


@pytest.fixture(scope="module")
def sample(run):
    con = duckdb.connect(str(run.desk.lake.database), read_only=True)
    yield Sample(con)
    con.close()


def in_force(i: dict) -> bool:
    return i["status_code"] == "1" and (i["end_ym"] is None or i["end_ym"] >= MONTH)


def live(licence: dict) -> bool:
    return licence["status_code"] == "1" and (licence["valid_to"] is None or licence["valid_to"] >= AS_OF)


def test_revoked_3y(sample):
    want = Counter((e["uscc"], after(e["status_date"], 36)) for e in sample("legal_entity.enterprise") if e["status_code"] == "2" and e["status_date"] and after(e["status_date"], 36) < AS_OF)
    assert want and sample.said("legal_entity.revoked_3y", "uscc", "overdue_since") == want


def test_zombie(sample):
    listed = grouped((a for a in sample("credit.abnormal_list") if a["remove_date"] is None and a["include_reason"] in ("1", "2", "4")), "uscc")
    recent = {i["employer_uscc"] for i in sample("population.social_insurance") if (i["end_ym"] or (MONTH if i["status_code"] == "1" else "")) > YEAR_AGO}
    want = Counter((e["uscc"], len(listed[e["uscc"]])) for e in sample("legal_entity.enterprise")
                   if e["status_code"] == "1" and e["establish_date"] and after(e["establish_date"], 12) <= AS_OF and e["uscc"] in listed and e["uscc"] not in recent)
    assert sample.said("legal_entity.zombie", "uscc", "listings") == want


def test_capital_overdue(sample):
    firms = {e["uscc"]: e for e in sample("legal_entity.enterprise") if e["status_code"] in ("1", "2")}
    want = Counter()
    for s in sample("legal_entity.shareholder"):
        firm = firms.get(s["uscc"])
        if firm and None not in (s["paid"], s["subscribed"]) and s["paid"] < s["subscribed"]:
            limited = (firm["entity_type_code"] or "")[:2] in ("11", "51", "61") and firm["establish_date"]
            law = None if not limited else after(firm["establish_date"], 60) if firm["establish_date"] >= date(2024, 7, 1) else date(2032, 6, 30)
            due = ends(s["subscribed_date"], law)
            want[(s["investment_id"], s["subscribed"] - s["paid"], due)] += bool(due and due < AS_OF)
    assert +want and sample.said("legal_entity.capital_overdue", "investment_id", "unpaid", "due_on") == +want


def test_industry_dynamics_and_demography(sample):
    entries, exits, cohort, months = Counter(), Counter(), defaultdict(list), defaultdict(lambda: [0, 0, 0])
    kinds = {"91": "enterprise", "92": "individual_business", "93": "cooperative"}
    for e in (e for e in sample("legal_entity.enterprise") if e["status_code"] in tuple("123456")):
        gone, place = e["status_date"] if e["status_code"] != "1" else None, (e["region_code"], e["industry_section"])
        if e["establish_date"]:
            entries[(e["establish_date"].year, *place)] += 1
            if e["status_code"] == "1" or gone:
                cohort[(e["establish_date"].year, *place)].append((e["establish_date"], gone))
                kind = kinds.get(e["uscc"][:2], "other")
                months[(f"{e['establish_date']:%Y-%m}", e["region_code"], kind)][0] += 1
                if gone:
                    months[(f"{gone:%Y-%m}", e["region_code"], kind)][1 if e["status_code"] == "2" else 2] += 1
        if gone:
            exits[(gone.year, *place)] += 1

    def survival(cell, n):
        born = cohort.get(cell)
        return round(sum(g is None or g >= after(d, n) for d, g in born) / len(born), 4) if born and after(date(cell[0] + 1, 1, 1), n) <= AS_OF else None

    want = Counter((*cell, entries[cell], exits[cell], *(survival(cell, n) for n in (12, 24, 36))) for cell in {**entries, **exits})
    assert sample.said("legal_entity.industry_dynamics", "year", "region_code", "section_code", "entries", "exits", "survival_12", "survival_24", "survival_36") == want
    active = Counter()
    want = Counter()
    for (month, *place), (new, revoked, closed) in sorted(months.items(), key=str):
        active[tuple(place)] += new - revoked - closed
        want[(month, *place, new, revoked, closed, active[tuple(place)])] += 1
    assert sample.said("legal_entity.enterprise_demography", "month", "region_code", "entity_kind", "entries", "revoked", "closed", "active") == want


def test_enterprise_360(sample):
    holders, held = grouped(sample("legal_entity.shareholder"), "uscc"), grouped(sample("legal_entity.shareholder"), "investor_uscc")
    officers = grouped((k for k in sample("legal_entity.key_person") if k["end_date"] is None or k["end_date"] >= AS_OF), "uscc")
    insured = grouped((i for i in sample("population.social_insurance") if in_force(i)), "employer_uscc")
    listings = grouped(sample("credit.abnormal_list"), "uscc")
    defaults = Counter(d["org_code"] for d in sample("credit.judgment_defaulter") if d["performance_code"] != "3")

    def decided(table):
        by_code, by_org = grouped(sample(table), "uscc"), grouped((r for r in sample(table) if r["uscc"] is None), "org_code")
        return lambda uscc: by_code.get(uscc, []) + by_org.get(uscc[8:17], [])
    licences, penalties = decided("credit.administrative_licence"), decided("credit.administrative_penalty")
    want = Counter()
    for uscc in (e["uscc"] for e in sample("legal_entity.enterprise")):
        persons = len({i["person_id"] for i in insured.get(uscc, [])})
        want[(uscc, len(holders.get(uscc, [])), len({h["uscc"] for h in held.get(uscc, [])}), len({k["person_id"] for k in officers.get(uscc, [])} - {None}), None if 0 < persons < 10 else persons, 0 < persons < 10,
              len(licences(uscc)), sum(map(live, licences(uscc))), len(penalties(uscc)), sum(p["fine_amount"] or 0 for p in penalties(uscc)),
              max((p["decision_date"] for p in penalties(uscc) if p["decision_date"]), default=None), sum(a["remove_date"] is None for a in listings.get(uscc, [])), defaults[uscc[8:17]])] += 1
    assert sample.said("legal_entity.enterprise_360", "uscc", "shareholders", "investments", "officers", "insured", "insured_suppressed", "licences", "live_licences", "penalties", "fines",
                       "last_penalty_date", "open_listings", "open_defaults") == want


def test_credit_timeline(sample):
    firms = grouped(sample("legal_entity.enterprise"), "uscc")
    by_org = grouped([{"org": u[8:17], "uscc": u} for u in firms], "org")

    def subjects(record):
        return [(record["uscc"], "exact")] if record.get("uscc") else [(f["uscc"], "bridge") for f in by_org.get(record["org_code"], [])]
    want = Counter()
    for e in sample("legal_entity.enterprise"):
        want[(e["uscc"], e["establish_date"], "established", e["reg_no"], "exact")] += 1
        want[(e["uscc"], e["status_date"], "revoked" if e["status_code"] == "2" else "left_register", e["reg_no"], "exact")] += e["status_code"] in tuple("23456")
    for table, events in (("administrative_licence", {"licence_granted": "decision_date", "licence_expires": "valid_to"}), ("administrative_penalty", {"penalised": "decision_date"}),
                          ("judgment_defaulter", {"default_filed": "filing_date", "default_published": "publish_date"})):
        for r in sample(f"credit.{table}"):
            for uscc, level in subjects(r):
                for event, column in events.items():
                    want[(uscc, r[column], event, r.get("decision_no") or r.get("case_no"), level)] += 1
    for a in sample("credit.abnormal_list"):
        want[(a["uscc"], a["include_date"], "listed", a["list_id"], "exact")] += 1
        want[(a["uscc"], a["remove_date"], "delisted", a["list_id"], "exact")] += 1
    want = Counter({k: n for k, n in want.items() if n and k[0] and k[1]})
    assert {k[2] for k in want} >= {"revoked", "left_register", "delisted", "default_filed", "licence_expires"} and {k[4] for k in want} == {"exact", "bridge"}
    assert sample.said("credit.credit_timeline", "uscc", "event_date", "event", "record_no", "match_level") == want


def test_supervision(sample):
    parts = [grouped((r for r in sample(t) if r["uscc"]), "uscc") for t in ("credit.administrative_licence", "credit.administrative_penalty", "credit.abnormal_list")]
    status = {e["uscc"]: e["status_code"] for e in sample("legal_entity.enterprise")}
    want = Counter()
    for uscc in set().union(*parts):
        licences, penalties, listings = (p.get(uscc, []) for p in parts)
        in_effect, recent, still = [x for x in licences if live(x)], [p for p in penalties if p["decision_date"] and p["decision_date"] > after(AS_OF, -12)], [a for a in listings if not a["remove_date"]]
        soon = min((x["valid_to"] for x in in_effect if x["valid_to"]), default=None)
        attention = bool(recent) + bool(still) + bool(soon and soon <= AS_OF + timedelta(90)) + bool(in_effect and status.get(uscc, "1") != "1")
        want[(uscc, len(licences), len(in_effect), soon, len(penalties), len(recent), len(listings), len(still), attention)] += 1
    assert sample.said("credit.supervision", "uscc", "licences", "live_licences", "next_expiry", "penalties", "penalties_12_months", "listings", "open_listings", "attention") == want
    assert {k[-1] for k in want} >= {0, 1, 2}


def test_publish_overdue(sample):
    want = Counter()
    for p in sample("credit.administrative_penalty"):
        kinds = {k.strip() for k in (p["penalty_kinds"] or "?").replace("；", ";").replace("、", ";").replace(",", ";").split(";")} - {""}
        longest = after(p["decision_date"], 3 if kinds <= {"警告", "通报批评"} else 12 if kinds <= {"警告", "通报批评", "没收违法所得", "没收非法财物"} else 36)
        last = ends(p["publish_until"], longest)
        want[("penalty", p["decision_no"], (AS_OF - last).days if last else 0)] += bool(last and last < AS_OF)
    want.update(("defaulter", d["case_no"], None) for d in sample("credit.judgment_defaulter") if d["performance_code"] == "3")
    assert {k[0] for k in +want} == {"penalty", "defaulter"} and sample.said("credit.publish_overdue", "record_kind", "record_no", "days_overdue") == +want


def test_publicity_timeliness(sample):
    want = Counter((kind, r["agency_uscc"], f"{r['decision_date']:%Y-%m}") for kind in ("licence", "penalty") for r in sample(f"credit.administrative_{kind}") if r["decision_date"])
    found = rows(sample.con, "credit.publicity_timeliness")
    assert {(r["record_kind"], r["agency_uscc"], r["decision_month"]): r["records"] for r in found} == want
    assert all(r["stock"] == r["records"] and r["measured"] == 0 for r in found), "the sample has one batch per stream: all of it is stock"


def test_proactive_service_of_enterprises(sample):
    ending = [("licence", r["licence_no"], r["valid_to"]) for r in sample("credit.administrative_licence") if r["status_code"] == "1"]
    ending += [("term_of_business", None, e["term_to"]) for e in sample("legal_entity.enterprise") if e["status_code"] == "1"]
    want = Counter((kind, no, (end - AS_OF).days, next(w for w in (30, 60, 90) if (end - AS_OF).days <= w)) for kind, no, end in ending if end and 0 <= (end - AS_OF).days <= 90)
    assert want and sample.said("credit.proactive_service", "record_kind", "licence_no", "days_left", "due_within") == want


def band(year):
    return None if year is None or year > AS_OF.year else min((AS_OF.year - year) // 5 * 5, 90)


def test_population_pyramid(sample):
    truth, total = Counter((p["hukou_region_code"], p["sex_code"], band(p["birth_year"])) for p in sample.registered), Counter(p["hukou_region_code"] for p in sample.registered)
    found = {(r["region_code"], r["sex_code"], r["age_from"]): r for r in rows(sample.con, "population.population_pyramid")}
    assert set(found) == set(truth)
    for cell, row in found.items():
        assert row["persons"] == (None if row["suppressed"] else truth[cell]) and row["region_persons"] == (total[cell[0]] if total[cell[0]] >= 10 else None)
        assert row["suppressed"] or truth[cell] >= 10
    assert {r["suppressed"] for r in found.values()} == {True, False}


def test_population_flow(sample):
    place = {}
    for i in (i for i in sample("population.social_insurance") if in_force(i) and i["region_code"] and i["person_id"]):
        place[i["person_id"]] = max(place.get(i["person_id"], ("", "")), (i["start_ym"] or "", i["region_code"]))
    home = {p["person_id"]: p["hukou_region_code"] for p in sample.registered}
    for row in rows(sample.con, "population.population_flow"):
        region = row["region_code"]
        there = {p for p, (_, at) in place.items() if at == region}
        here = {p for p, at in home.items() if at == region}
        stays, leaves, none, comes = len(here & there), len([p for p in here if p in place and p not in there]), len([p for p in here if p not in place]), len(there - here)
        hidden = any(0 < n < 10 for n in (stays, leaves, none, comes))
        assert (row["registered"], row["insured"]) == tuple(None if 0 < len(n) < 10 else len(n) for n in (here, there)) and row["suppressed"] == hidden
        assert [row[c] for c in ("registered_insured_here", "registered_insured_elsewhere", "registered_uninsured", "insured_from_elsewhere", "net_flow")] == (
            [None] * 5 if hidden else [stays, leaves, none, comes, comes - leaves])


def test_household_structure(sample):
    households = grouped((m for m in sample("population.household_member") if m["leave_year"] is None and m["person_id"] and m["household_no_pseudonym"]), "household_no_pseudonym")
    truth = Counter()
    for members in households.values():
        codes, size = {m["relation_code"] or "" for m in members}, len({m["person_id"] for m in members})
        heads = sorted(m["region_code"] for m in members if m["relation_code"] in ("01", "02") and m["region_code"])
        children, parents, line = ({c for c in codes if c[:1] in tens} for tens in (("2", "3"), ("5",), ("4", "6")))
        kind = ("single" if size == 1 else "three_generations" if line or children and parents else "two_generations" if children or parents
                else "one_generation" if all(c in ("01", "02", "10", "11", "12") or c[:1] == "7" for c in codes) else "other")
        truth[(heads or sorted(m["region_code"] for m in members if m["region_code"]) or [None])[0], min(size, 7), kind] += 1
    found = {(r["region_code"], r["household_size"], r["structure"]): r for r in rows(sample.con, "population.household_structure")}
    assert set(found) == set(truth)
    assert all(r["households"] == (None if r["suppressed"] else truth[cell]) and (r["suppressed"] or truth[cell] >= 10) for cell, r in found.items())


def test_proactive_service_of_persons(sample):
    truth = Counter((p["hukou_region_code"], AS_OF.year - p["birth_year"]) for p in sample.registered if p["birth_year"] and p["hukou_region_code"])
    found = {(r["region_code"], r["turns"] - (r["in_year"] - AS_OF.year)): r for r in rows(sample.con, "population.proactive_service")}
    assert set(found) == {cell for cell in truth if cell[1] in (15, 16, 59, 60, 79, 80)}
    assert all(r["persons"] == (None if r["suppressed"] else truth[cell]) and (r["suppressed"] or truth[cell] >= 10) for cell, r in found.items())


def test_benefit_and_support_eligibility(sample):
    dead = {d["person_id"] for d in sample("population.death")}
    recent = defaultdict(set)
    for b in sample("population.benefit_payment"):
        recent[b["person_id"]] |= {b["benefit_item"]} if b["fee_period"] > YEAR_AGO else set()
    alive = [p for p in sample.registered if p["birth_year"] and p["person_id"] not in dead]
    want = Counter((p["person_id"], "pension", p["birth_year"] < 1966) for p in alive if p["birth_year"] <= 1966 and not recent[p["person_id"]] & {"110", "120", "130"})
    want.update((p["person_id"], "old_age_allowance", p["birth_year"] < 1946) for p in alive if p["birth_year"] <= 1946 and "620" not in recent[p["person_id"]])
    assert want and sample.said("population.benefit_eligibility", "person_id", "benefit", "certain") == want
    assert "610" not in set().union(*recent.values()) and not sample.said("population.support_eligibility", "household"), "nobody in the sample is on support"


def test_identity_conflict(sample):
    def several(table, one, other, when=lambda r: True):
        return {k: {r[other] for r in found} - {None} for k, found in grouped((r for r in sample(table) if r[one] and when(r)), one).items() if len({r[other] for r in found} - {None}) > 1}
    person, want = {p["person_id"]: p for p in sample("population.person")}, Counter()
    told = grouped((d for d in sample("credit.judgment_defaulter") if d["person_id"] in person), "person_id")
    for column, sign in (("sex_code", "sex"), ("birth_year", "birth_year")):
        want.update((p, sign) for p, found in told.items() if person[p][column] is not None and {d[column] for d in found} - {None, person[p][column]})
    want.update((p, "two_households") for p in several("population.household_member", "person_id", "household_no_pseudonym", lambda m: m["leave_year"] is None))
    want.update((p, "two_insurance_numbers") for p in several("population.social_insurance", "person_id", "person_no_pseudonym"))
    for table, number, sign in (("social_insurance", "person_no_pseudonym", "shared_insurance_number"), ("death", "certificate_no_pseudonym", "shared_death_certificate")):
        want.update((p, sign) for persons in several(f"population.{table}", number, "person_id").values() for p in persons)
    assert want and Counter(k[:2] for k in sample.said("population.identity_conflict", "person_id", "sign").elements()) == want


def test_person_360(sample):
    active = {e["uscc"] for e in sample("legal_entity.enterprise") if e["status_code"] == "1"}
    homes = {h: len({m["person_id"] for m in found} - {None}) for h, found in grouped((m for m in sample("population.household_member") if m["leave_year"] is None), "household_no_pseudonym").items()}
    deaths, insured = grouped(sample("population.death"), "person_id"), grouped((i for i in sample("population.social_insurance") if in_force(i)), "person_id")
    paid = grouped((b for b in sample("population.benefit_payment") if b["fee_period"] > YEAR_AGO), "person_id")
    represents = Counter(e["legal_rep_person_id"] for e in sample("legal_entity.enterprise") if e["status_code"] == "1")
    offices = grouped((k for k in sample("legal_entity.key_person") if k["uscc"] in active and (k["end_date"] is None or k["end_date"] >= AS_OF)), "person_id")
    holdings, defaults = grouped((h for h in sample("legal_entity.shareholder") if h["uscc"] in active), "investor_person_id"), Counter(d["person_id"] for d in sample("credit.judgment_defaulter") if d["performance_code"] != "3")
    want = Counter()
    for p in sample("population.person"):
        one = p["person_id"]
        want[(one, p["birth_year"], homes.get(p["household_no_pseudonym"], 0), max((d["death_month"] for d in deaths.get(one, []) if d["death_month"]), default=None), len({d["source_kind"] for d in deaths.get(one, [])}),
              ", ".join(sorted({i["insurance_type"] for i in insured.get(one, [])})) or None, len({b["fee_period"] for b in paid.get(one, [])}), sum(b["amount"] or 0 for b in paid.get(one, [])),
              represents[one], len({k["uscc"] for k in offices.get(one, [])}), len({h["uscc"] for h in holdings.get(one, [])}), defaults[one])] += 1
    assert sample.said("population.person_360", "person_id", "birth_year", "household_members", "death_month", "death_sources", "insurances", "benefit_months", "benefit_amount", "represents", "offices",
                       "holdings", "open_defaults") == want


def test_duplicate_collection(sample):
    departments, found = grouped(sample("governance.sources"), "dataset"), defaultdict(lambda: (set(), set()))
    for c in sample("governance.columns"):
        for s in departments[c["dataset"]]:
            found[c["zh"], c["semantic_type"], c["code_list"]][0].add(c["dataset"])
            found[c["zh"], c["semantic_type"], c["code_list"]][1].add(s["department"])
    want = Counter((*element, len(datasets), len(who)) for element, (datasets, who) in found.items() if len(who) > 1)
    assert want and sample.said("governance.duplicate_collection", "element", "semantic_type", "code_list", "datasets", "departments") == want
