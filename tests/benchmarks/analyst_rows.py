"""Rows of `current`, invented by DuckDB: persons and what belongs to them, in the proportions of the sample, as many as wanted.

Each dataset is a SELECT over a number; columns that are not named are NULL. A pseudonym is a function of its person's number that
keeps their order, so that `current` is in the order of its key without a sort of tens of millions of rows; its last sixteen
characters are as incompressible as real ones. Households and regions lie across the order of the pseudonyms, as they do in life.
"""
from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

COUNTIES = 100


@dataclass(frozen=True)
class Rows:
    """One dataset: how many numbers `i` there are, its columns over `i`, which of them exist, and the order of the key."""

    numbers: int
    columns: dict[str, str]
    where: str = "true"
    order: tuple[str, ...] = field(default=())


def install(con: duckdb.DuckDBPyConnection, persons: int, reference: Path) -> None:
    """Give `con` the macros that the columns are made of."""
    step, prime = 2**31 // persons, 7_919
    while persons % prime == 0:
        prime += 2
    with (reference / "admin_divisions.csv").open(encoding="utf-8", newline="") as lines:
        codes = [row["code"] for row in csv.DictReader(lines) if row["code"][:2] in ("62", "64") and not row["code"].endswith("00")]
    con.execute("SET VARIABLE county = $1", [codes[:COUNTIES]])
    enterprises = enterprise_count(persons)
    for macro in (
            "share(i, salt) AS (hash(i, salt) % 1000003) / 1000003.0",
            "county_at(x) AS getvariable('county')[1 + floor(len(getvariable('county')) * pow(x, 1.5))::INTEGER]",
            "random(i) AS to_base64(unhex(left(md5(i), 24)))",
            f"person(i) AS to_base((i * {step} + (hash(i) % {step})::BIGINT)::BIGINT, 36, 6) || random('person' || i)",
            f"member(j) AS j * {prime} % {persons}",      # the person that is j-th in the order of households
            f"place_of(i) AS i * {pow(prime, -1, persons)} % {persons}",
            "household_region(h) AS county_at(share(h, 1))",
            "region_of(i) AS household_region(place_of(i) // 3)",
            f"chosen(i, salt) AS (hash(i, salt) % {persons})::BIGINT",
            "enterprise_region(e) AS county_at(share(e, 2))",
            "uscc(e) AS '91' || enterprise_region(e) || 'MA' || to_base((hash(e, 3) >> 24)::BIGINT, 36, 8)",
            f"employer(i, salt) AS uscc((hash(i, salt) % {enterprises})::BIGINT)",
            "day(i, salt) AS DATE '2005-01-01' + (hash(i, salt) % 7900)::INTEGER"):
        con.execute(f"CREATE OR REPLACE TEMP MACRO {macro}")


def enterprise_count(persons: int) -> int:
    return max(1, persons * 11 // 100)


def rows(persons: int) -> dict[str, Rows]:
    """Dataset → its rows."""
    enterprises = enterprise_count(persons)
    return {
        "population.person": Rows(persons, {
            "person_id": "person(i)", "id_type": "'111'", "sex_code": "(1 + hash(i, 10) % 2)::VARCHAR", "ethnic_code": "lpad((1 + floor(56 * pow(share(i, 11), 6)))::INTEGER::VARCHAR, 2, '0')",
            "birth_date": "DATE '1930-01-01' + (hash(i, 12) % 35000)::INTEGER", "birth_region_code": "county_at(share(i, 13))", "native_region_code": "county_at(share(i, 14))",
            "hukou_region_code": "region_of(i)", "township_code": "region_of(i) || lpad((1 + hash(place_of(i) // 3, 15) % 12)::VARCHAR, 3, '0')", "household_no": "'H' || lpad((place_of(i) // 3)::VARCHAR, 9, '0')",
            "household_type": "'1'", "relation_to_head": "lpad((hash(i, 16) % 9)::VARCHAR, 2, '0')", "marital_code": "(hash(i, 17) % 4)::VARCHAR || '0'",
            "education_code": "(1 + hash(i, 18) % 9)::VARCHAR || '0'", "source_updated_at": "TIMESTAMP '2026-10-01' + to_seconds((hash(i, 19) % 2592000)::BIGINT)"}),
        "population.household_member": Rows(persons, {
            "household_no": "'H' || lpad((i // 3)::VARCHAR, 9, '0')", "person_id": "person(member(i))", "relation_code": "lpad((hash(i, 20) % 9)::VARCHAR, 2, '0')",
            "join_date": "day(i, 21)", "region_code": "household_region(i // 3)", "_key": "left(random('member' || i), 12) || left(random(i::VARCHAR), 10)"}),
        "population.social_insurance": Rows(persons, {
            "person_id": "person(i)", "insurance_type": "(110 + hash(i, 30) % 4 * 100)::VARCHAR", "start_ym": "strftime(day(i, 31), '%Y-%m')", "status_code": "(1 + hash(i, 32) % 3)::VARCHAR",
            "person_no": "'P' || i", "employer_uscc": "CASE WHEN hash(i, 33) % 2 = 0 THEN employer(i, 34) END", "region_code": "region_of(i)",
            "_key": "left(random('insured' || i), 12) || left(random(i::VARCHAR), 10)"}, where="hash(i, 35) % 100 < 63"),
        "population.death": Rows(persons // 20, {
            "person_id": "person(i * 20 + 3)", "source_kind": "'1'", "death_date": "day(i, 40)", "registered_date": "day(i, 40)", "region_code": "region_of(i * 20 + 3)", "_key": "random('death' || i) || 'AAAAAA'"}),
        "legal_entity.enterprise": Rows(enterprises, {
            "uscc": "uscc(i)", "pripid": "'E' || i", "name": "'第' || i || '号贸易有限公司'", "entity_type_code": "'1130'", "legal_rep_person_id": "person(chosen(i, 50))",
            "reg_capital": "(10 + hash(i, 51) % 5000)::DECIMAL(18,6)", "establish_date": "day(i, 52)", "status_code": "CASE WHEN hash(i, 53) % 10 < 7 THEN '1' ELSE (2 + hash(i, 53) % 2)::VARCHAR END",
            "region_code": "enterprise_region(i)", "address": "'解放西街' || hash(i, 54) % 90000 || '号'", "industry_section": "chr((65 + hash(i, 55) % 20)::INTEGER)", "industry_code": "lpad((hash(i, 56) % 9700)::VARCHAR, 4, '0')",
            "business_scope": "'批发、零售：第' || hash(i, 57) % 500 || '类'", "employee_count": "(hash(i, 58) % 300)::BIGINT", "_key": "random('enterprise' || i) || 'AAAAAA'"}, order=("uscc",)),
        "legal_entity.key_person": Rows(persons * 176 // 1000, {
            "uscc": f"uscc(i % {enterprises})", "person_id": "person(chosen(i, 60))", "position_code": f"CASE WHEN i < {enterprises} THEN '432A' ELSE '408B' END", "id_type": "'111'",
            "is_legal_rep": f"CASE WHEN i < {enterprises} THEN '1' ELSE '0' END", "start_date": "day(i, 61)", "_key": "random('key_person' || i) || 'AAAAAA'"}, order=("uscc", "person_id")),
        "legal_entity.shareholder": Rows(persons * 157 // 1000, {
            "investment_id": "'I' || lpad(i::VARCHAR, 9, '0')", "uscc": f"uscc(i % {enterprises})", "investor_type": "'1'", "investor_person_id": "person(chosen(i, 70))",
            "subscribed": "(1 + hash(i, 71) % 900)::DECIMAL(18,6)", "subscribed_date": "day(i, 72)", "_key": "random('shareholder' || i) || 'AAAAAA'"}),
        "credit.judgment_defaulter": Rows(persons // 25, {
            "case_no": "'（2025）宁01执' || lpad(i::VARCHAR, 9, '0') || '号'", "debtor_name": "'不予公开'", "debtor_kind": "'1'", "person_id": "person(chosen(i, 80))", "court": "'第' || hash(i, 81) % 120 || '人民法院'",
            "filing_date": "day(i, 82)", "performance_code": "(1 + hash(i, 83) % 3)::VARCHAR", "publish_date": "day(i, 82)", "_key": "random('case' || i) || 'AAAAAA'"}),
        "credit.administrative_penalty": Rows(persons * 39 // 1000, {
            "subject_name": "'第' || i || '号'", "subject_kind": "'1'", "uscc": "employer(i, 90)", "decision_no": "'罚〔2025〕' || i || '号'", "agency_uscc": "'11640000MB1Y00054Y'", "fine_amount": "(hash(i, 91) % 90)::DECIMAL(18,6)",
            "decision_date": "day(i, 92)", "agency_name": "'市场监督管理局'", "_key": "random('penalty' || i) || 'AAAAAA'"}, order=("subject_name",)),
        "credit.abnormal_list": Rows(persons * 245 // 10000, {
            "list_id": "lpad(i::VARCHAR, 9, '0')", "uscc": "employer(i, 95)", "name": "'第' || i || '号贸易有限公司'", "include_date": "day(i, 96)", "include_reason": "'1'", "_key": "random('abnormal' || i) || 'AAAAAA'"}),
    }
