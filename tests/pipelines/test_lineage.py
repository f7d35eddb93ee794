"""Lineage: five views against what a person reads out of their SQL, every clause counted, what cannot be followed refused.

The views of the first test are the project's own; the expectation was written from their text and the contracts, column by column.
"""
from __future__ import annotations

import time

import pytest

from pipelines import classification, compiler, lineage, themes
from pipelines.contract import datasets
from pipelines.semantics import reference
from pipelines.settings import Project
from tests.support import REPOSITORY

PROJECT = Project(REPOSITORY)
AS_OF = {"governance.datasets.as_of"}
E, K, S, D = "legal_entity.enterprise.", "legal_entity.key_person.", "legal_entity.shareholder.", "credit.judgment_defaulter."
DEATH, PAID, INSURED, LICENCE = "population.death.", "population.benefit_payment.", "population.social_insurance.", "credit.administrative_licence."
EXPECTED = {
    "credit.legal_rep_defaulter": {
        "uscc": {E + "uscc"}, "enterprise_name": {E + "name"}, "region_code": {E + "region_code"}, "shown_by": set(),
        "person_id": {E + "legal_rep_id_number", K + "id_number"}, "case_no": {D + "case_no"}, "court": {D + "court"}, "filing_date": {D + "filing_date"},
        "publish_date": {D + "publish_date"}, "performance_code": {D + "performance_code"}, "performance": {"reference.performance.name"}, "as_of": AS_OF},
    "population.benefit_after_death": {
        "person_id": {PAID + "id_number"}, "benefit_item": {PAID + "benefit_item"}, "benefit": {"reference.benefit_item.name"},
        "region_code": {PAID + "region_code", PAID + "fee_period"}, "death_month": {DEATH + "death_date"}, "earliest_death_month": {DEATH + "death_date"},
        "death_sources": {DEATH + "source_kind"}, "sources_agree": {DEATH + "death_date"}, "months_paid": {PAID + "fee_period"},
        "first_period": {PAID + "fee_period"}, "last_period": {PAID + "fee_period"}, "amount": {PAID + "amount"}, "as_of": AS_OF},
    "population.dead_active_role": {
        "person_id": {E + "legal_rep_id_number", K + "id_number", S + "investor_id_number", INSURED + "id_number"}, "role": {K + "is_legal_rep"},
        "organisation": {E + "uscc", K + "uscc", S + "uscc", INSURED + "employer_uscc"},
        "evidence": {K + "is_legal_rep", "reference.position.name", S + "ratio", "reference.insurance_type.name"}, "death_month": {DEATH + "death_date"},
        "death_sources": {DEATH + "source_kind"}, "sources_agree": {DEATH + "death_date"}, "as_of": AS_OF},
    # The domicile of a sole trader is withheld: which enterprises are sole traders stands in their kind and their code.
    "legal_entity.shell_cluster": {
        "cluster_kind": set(), "person_id": {E + "legal_rep_id_number", K + "id_number"}, "address": {E + "address", E + "entity_type_code", E + "uscc"},
        "enterprise_count": set(), "usccs": {E + "uscc"}, "region_codes": {E + "region_code"}, "first_establish_date": {E + "establish_date"},
        "last_establish_date": {E + "establish_date"}, "as_of": AS_OF},
    "legal_entity.dead_entity_live_licence": {
        "uscc": {E + "uscc"}, "entity_name": {E + "name"}, "region_code": {E + "region_code"}, "status_code": {E + "status_code"},
        "status": {"reference.entity_status.name"}, "status_date": {E + "status_date"}, "licence_no": {LICENCE + "licence_no"},
        "licence_name": {LICENCE + "licence_name"}, "licence_kind": {LICENCE + "licence_kind"}, "decision_no": {LICENCE + "decision_no"},
        "valid_to": {LICENCE + "valid_to"}, "agency_name": {LICENCE + "agency_name"}, "as_of": AS_OF},
}
# What decides about the rows of one of them: every WHERE, JOIN and GROUP BY of its text, with the masks behind the columns.
DECIDES = {
    ("filter", "governance.datasets.dataset"), ("filter", DEATH + "id_number"), ("filter", DEATH + "death_date"), ("group", DEATH + "id_number"),
    ("join", DEATH + "id_number"), ("join", PAID + "id_number"), ("join", PAID + "fee_period"), ("join", DEATH + "death_date"), ("group", PAID + "id_number"),
    ("group", PAID + "benefit_item"), ("join", "reference.benefit_item.code"), ("join", PAID + "benefit_item")}


@pytest.fixture(scope="module")
def plans():
    return [compiler.plan(d, ()) for d in datasets(PROJECT)]


@pytest.fixture(scope="module")
def judged(plans):
    return classification.judged(PROJECT, plans, themes.themes(PROJECT))


@pytest.fixture(scope="module")
def known(plans):
    return classification.relations(PROJECT, plans)


@pytest.mark.parametrize("view", EXPECTED)
def test_columns_come_from_where_their_sql_takes_them(plans, judged, view):
    found = {column: {f"{v}.{c}" for v, c, _, _ in roots} for column, roots in classification.composed(plans, judged)[view].items()}
    constant = {c for c in ("rule_id", "match_level") if found[c] == set()}
    assert {c: made for c, made in found.items() if c and c not in constant} == EXPECTED[view] and constant == {"rule_id", "match_level"}


def test_every_clause_that_decides_about_rows_is_read(plans, judged):
    found = classification.composed(plans, judged)["population.benefit_after_death"][None]
    assert {(clause, f"{v}.{c}") for v, c, clause, _ in found} == DECIDES


def test_every_published_column_has_its_source(plans, judged):
    """Only constants and counts of rows are made of nothing; of a dataset, only where a row comes from."""
    found = classification.composed(plans, judged)
    for plan in plans:
        assert {c for c, roots in found[plan.dataset.id].items() if not roots} == {"_source", "_batch", "_stale_since"}
    assert found["population.person"]["person_id"] == {("population.person", "id_number", "select", "personal")}
    listed = classification.rows(plans, judged)
    assert {r["view"] for r in listed} == set(found) and all(r["clause"] in lineage.CLAUSES for r in listed)


PEOPLE = "population.person"
CLAUSES = [      # each holds `marital_code` in one place only
    ("filter", "SELECT sex_code AS s FROM population.person WHERE marital_code = '20'"),
    ("filter", "SELECT sex_code AS s FROM population.person GROUP BY sex_code HAVING max(marital_code) > '1'"),
    ("filter", "SELECT sex_code AS s FROM population.person QUALIFY marital_code = '20'"),
    ("filter", "SELECT count(*) FILTER (marital_code = '20') AS s FROM population.person"),
    ("filter", "SELECT sex_code AS s FROM population.person WHERE sex_code IN (SELECT p.marital_code FROM population.person p)"),
    ("filter", "SELECT s.name AS s FROM reference.sex s WHERE EXISTS (FROM population.person p WHERE p.sex_code = s.code AND p.marital_code = '20')"),
    ("filter", "SELECT s.name AS s FROM reference.sex s WHERE (SELECT count(*) FROM population.person p WHERE p.marital_code = s.code) > 3"),
    ("filter", "SELECT code AS s FROM reference.sex EXCEPT SELECT marital_code FROM population.person"),
    ("filter", "SELECT code AS s FROM reference.sex WHERE code = ANY (SELECT marital_code FROM population.person)"),
    ("filter", "SELECT code AS s FROM reference.sex LIMIT (SELECT count(DISTINCT marital_code) FROM population.person)"),
    ("filter", "SELECT max(n) AS s FROM (SELECT row_number() OVER (ORDER BY marital_code) AS n FROM population.person) WHERE n = 1"),
    ("filter", "WITH a AS (SELECT sex_code, marital_code AS m FROM population.person) SELECT sex_code AS s FROM a WHERE m = '1'"),
    ("join", "SELECT s.name AS s FROM reference.sex s JOIN population.person p ON p.marital_code = s.code"),
    ("join", "SELECT s.name AS s FROM reference.sex s LEFT JOIN (SELECT marital_code AS code FROM population.person) p USING (code)"),
    ("join", "SELECT s.name AS s FROM reference.sex s SEMI JOIN population.person p ON p.marital_code = s.code"),
    ("join", "SELECT s.name AS s FROM reference.sex s ASOF JOIN population.person p ON s.code >= p.marital_code"),
    ("join", "SELECT u.x AS s FROM population.person p, unnest(string_split(p.marital_code, ',')) u(x)"),
    ("group", "SELECT max(sex_code) AS s FROM population.person GROUP BY marital_code"),
    ("group", "SELECT max(sex_code) AS s FROM population.person GROUP BY ROLLUP (marital_code)"),
    ("group", "SELECT marital_code AS s, count(*) AS n FROM population.person GROUP BY ALL"),
    ("group", "SELECT DISTINCT ON (marital_code) sex_code AS s FROM population.person"),
    ("order", "SELECT sex_code AS s FROM population.person ORDER BY marital_code LIMIT 10"),
    ("order", "SELECT marital_code AS s FROM population.person ORDER BY ALL"),
    ("order", "SELECT marital_code AS s FROM population.person UNION SELECT code FROM reference.sex ORDER BY s"),
    ("order", "SELECT string_agg(sex_code ORDER BY marital_code) AS s FROM population.person"),
    ("window", "SELECT row_number() OVER (PARTITION BY marital_code) AS s FROM population.person"),
    ("window", "SELECT lag(sex_code) OVER w AS s FROM population.person WINDOW w AS (ORDER BY marital_code)"),
    ("select", "SELECT m AS s FROM (SELECT any_value(x) AS m FROM (FROM population.person SELECT marital_code AS x))"),
    ("select", "SELECT 'a' AS s, 'b' AS t UNION ALL BY NAME SELECT marital_code AS t, sex_code AS s FROM population.person"),
    ("select", "SELECT list_transform([1], lambda x: x || marital_code) AS s FROM population.person"),
    ("select", "SELECT (SELECT max(marital_code) FROM population.person) AS s"),
    ("select", "SELECT * EXCLUDE (sex_code) REPLACE (marital_code || '' AS birth_year) FROM population.person"),
    ("select", "WITH RECURSIVE r AS (SELECT marital_code AS s, 1 AS n FROM population.person UNION ALL SELECT s, n + 1 FROM r WHERE n < 3) SELECT s FROM r"),
    ("select", "SELECT {'m': marital_code}.m AS s FROM population.person"),
    ("select", "SELECT redact(marital_code, [sex_code]) AS s FROM population.person"),
    ("select", "SELECT l.m AS s FROM reference.sex s, LATERAL (SELECT marital_code AS m FROM population.person p WHERE p.sex_code = s.code) l"),
]


@pytest.mark.parametrize(("clause", "sql"), CLAUSES)
def test_a_column_counts_in_whatever_clause_it_stands(known, clause, sql):
    found = lineage.edges(sql, known, reference.macros(PROJECT))
    assert clause in {e.clause for e in found if (e.source_view, e.source_column) == (PEOPLE, "marital_code")}


@pytest.mark.parametrize(("sql", "says"), [
    ("PIVOT population.person ON sex_code USING count(*)", "not one SELECT"), ("SELECT * FROM population.person PIVOT (count(*) FOR sex_code IN ('1'))", "PIVOT"),
    ("UNPIVOT population.person ON sex_code INTO NAME n VALUE v", "not one SELECT"), ("SELECT COLUMNS('s.*') FROM population.person", "COLUMNS()"),
    ("SELECT * LIKE '%code' FROM population.person", "LIKE"), ("SELECT #1 FROM population.person", "#1"), ("SELECT p FROM population.person p", "whole row"),
    ("SELECT hash(p) AS h FROM population.person p", "whole row"), ("SELECT count(DISTINCT p.*) AS n FROM population.person p", r"p\.\*"),
    ("SELECT x FROM read_parquet('rows.parquet')", "read_parquet"), ("FROM query_table('population.person')", "query_table"),
    ("SELECT n FROM pairs(1)", "pairs"), ("SELECT of_person('x') AS n", "reads population.person"), ("SELECT nosuch FROM population.person", "nosuch"),
    ("SELECT 1 AS n; SELECT 2 AS n", "not one SELECT"), ("SELECT * FROM range(3)", "star"), ("SELECT a FROM population.nowhere", "nowhere|could not be resolved")])
def test_what_cannot_be_followed_is_refused(known, sql, says):
    made = ["CREATE MACRO pairs(x) AS TABLE SELECT x AS n", "CREATE MACRO of_person(x) AS (SELECT max(sex_code) FROM population.person WHERE person_id = x)"]
    with pytest.raises(lineage.Unresolved, match=says):
        lineage.edges(sql, known, made)


def test_words_of_a_refusal_quote_no_literal(known):
    with pytest.raises(lineage.Unresolved) as refused:
        lineage.edges("SELECT nosuch FROM population.person WHERE '张三丰' = '张三丰' AND (", known)
    assert "张三丰" not in str(refused.value)


def test_an_unchanged_view_is_not_parsed_again(plans, judged, monkeypatch):
    monkeypatch.setattr(lineage, "edges", lambda *_: pytest.fail("parsed again"))
    began = time.process_time()
    assert classification.judged(PROJECT, plans, themes.themes(PROJECT), judged) == judged
    assert time.process_time() - began < 1
