"""Rows added to the clean ones: copies, older versions, second numbers, double registrations, fabricated blocks.

Each is made from a clean row by replacing some columns. `_extra` of an added row is the id of its defect, one kind per id
and dataset. Blocks (X35) come in the last submission only, where it is large enough to hide them.
"""
from __future__ import annotations

from dataclasses import dataclass

import duckdb

from pipelines import sql
from pipelines.contract import Dataset

PARTS = 1_000_000                       # resolution of a rate
DUPLICATE, CONFLICT, OLDER, SECOND_NUMBER, BLOCK = "X25", "X28", "X33", "X27", "X35"
BLOCK_ROWS, BLOCK_SHARE, BLOCK_LEAST = (50, 500), 10, 250      # rows of a block, one row in so many, rows of the submission


@dataclass(frozen=True)
class Extra:
    """One way a row is added. `replaced`: SQL of the REPLACE list; `outcome` and `rule`: what the truth states of it.

    `where` narrows the rows it is made from; `sure`: at least one row. `both`: the row it was made from is in the truth as well.
    `unique`: a replaced column that no two added rows may share.
    """

    id: str
    rate: float
    replaced: str
    outcome: str
    rule: str | None = None
    where: str = "true"
    sure: bool = False
    both: bool = False
    unique: str = ""


AGED = "date '1880-01-01' + (_h % 3000)::integer"
BY_DATASET: dict[str, list[Extra]] = {
    "population.person": [
        Extra(CONFLICT, 0.0001, "reverse(name) || '彧' AS name", "quarantined", "key.conflict", sure=True, both=True),
        Extra(OLDER, 0.001, "strftime(source_updated_at::TIMESTAMP - INTERVAL 400 DAY, '%Y-%m-%d %H:%M:%S') AS source_updated_at", "superseded",
              where="source_updated_at::DATE - 400 > birth_date::DATE AND cancel_flag = '0'"),
        Extra(SECOND_NUMBER, 0.001, "resident_id_of(substr(id_number, 1, 6), birth_date::date, 984 + sex_code::integer) AS id_number",
              "lead", where="relation_to_head <> '02' AND cancel_flag = '0'", sure=True, unique="id_number"),
        Extra("X13", 0.0001, f"resident_id_of(substr(id_number, 1, 6), {AGED}, 984 + sex_code::integer) AS id_number, ({AGED})::varchar AS birth_date",
              "flagged", "age_within_120", "cancel_flag = '0' AND relation_to_head <> '02'", sure=True, unique="id_number")],
    "population.household_member": [
        Extra("X31", 0.0001, "substr(household_no, 1, 6) || '9' || substr(household_no, 8) AS household_no, '02' AS relation_code", "flagged",
              "person_in_one_household", "leave_date IS NULL", sure=True)],
    "population.benefit_payment": [Extra(OLDER, 0.0005, "payment_id || 'B' AS payment_id", "flagged", "paid_once", sure=True)],
    "legal_entity.key_person": [
        Extra("BR", 0.0005, "'408A' AS position_code, '0' AS is_legal_rep", "flagged", "supervisor_holds_no_other_office", "is_legal_rep = '1'", sure=True)],
}
# What one operator wrote: `_n` numbers the rows of the block. Every row passes every row rule; statistics give them away.
BLOCKS: dict[str, str] = {
    "population.benefit_payment": "'FF' || replace(fee_period, '-', '') || (990000000 + _n) AS payment_id, "
        "resident_id_of('640104', date '1951-03-07', 100 + _n) AS id_number, '1500.00' AS amount, '640104' AS region_code, '8888' AS bank_last4",
    "legal_entity.enterprise": "uscc_of('91640104' || org_code_of('MA8' || base31(_n))) AS uscc, org_code_of('MA8' || base31(_n)) AS org_code, "
        "'PR' || lpad((990000000 + _n)::varchar, 12, '0') AS pripid, reg_no_of('640104' || '29' || lpad(_n::varchar, 6, '0')) AS reg_no, "
        "'宁夏' || letter(getvariable('mark'), (_n // 100 % 100)::integer) || letter(getvariable('mark'), (_n % 100)::integer) || '汇商贸有限公司' AS name, "
        "NULL AS former_names, '1130' AS entity_type_code, '100' AS reg_capital, 'CNY' AS reg_capital_currency, '50' AS paid_capital, '10' AS employee_count, "
        "days_before(getvariable('batch'), 45)::varchar AS establish_date, days_before(getvariable('batch'), 45)::varchar AS approve_date, "
        "days_before(getvariable('batch'), 45)::varchar AS term_from, NULL AS term_to, 'true' AS is_long_term, '1' AS status_code, NULL AS status_date, "
        "(SELECT mobile FROM world.person ORDER BY i DESC LIMIT 1) AS phone",
    "credit.administrative_penalty": "'宁市监罚〔' || year(days_before(getvariable('batch'), 10)) || '〕' || (90000 + _n) || '号' AS decision_no, '警告；罚款' AS penalty_kinds, "
        "'价格违法' AS violation_kind, '经查，当事人不按规定明码标价' AS facts, '《中华人民共和国价格法》第四十二条' AS legal_basis, "
        "'警告，罚款5000元' AS penalty_content, '0.5' AS fine_amount, NULL AS confiscated_amount, NULL AS revoked_licence, "
        "days_before(getvariable('batch'), 10)::varchar AS decision_date, (getvariable('batch') + 355)::varchar AS valid_until, "
        "(getvariable('batch') + 720)::varchar AS publish_until, NULL AS remark",
}
BLOCK_FROM = {"legal_entity.enterprise": "left(uscc, 2) = '91' AND reg_no IS NOT NULL", "credit.administrative_penalty": "subject_kind <> '2'"}


def kinds(dataset: Dataset) -> list[Extra]:
    """Every kind of row added to `dataset`."""
    return [Extra(DUPLICATE, 0.002, "", "duplicate"), *BY_DATASET.get(dataset.id, [])]


def truths(dataset: Dataset) -> list[Extra]:
    """`kinds` and the block: what a row with `_extra` is in the truth."""
    return kinds(dataset) + [Extra(BLOCK, 0, "", "lead")]


def extras(con: duckdb.DuckDBPyConnection, dataset: Dataset, rank: int, scale: float) -> list[str]:
    """SELECTs over `planted` of the rows to add; each clean row is used for one kind at most."""
    if not scale:
        return []
    clean = "FROM planted WHERE _plant IS NULL AND NOT _guard"
    draw, low, found = f"below({PARTS}, _order, {sql.text('extra ' + dataset.id)})", 0, []
    known = kinds(dataset)
    drawn = sum(round(e.rate * scale * PARTS) for e in known)
    for place, extra in enumerate(known):
        high = low + round(extra.rate * scale * PARTS)
        first = f"SELECT _order {clean} AND {extra.where} AND {draw} >= {drawn} ORDER BY _order LIMIT 1 OFFSET {place}"
        sure = f" OR _order = ({first})" if extra.sure else ""
        replaced = f"REPLACE ({extra.replaced})" if extra.replaced else ""
        made = (f"SELECT * {replaced}, {sql.text(extra.id)} AS _extra, _order * 2 + 1 AS _place {clean} AND {extra.where} "
                f"AND (({draw} >= {low} AND {draw} < {high}){sure})")
        once = f" QUALIFY row_number() OVER (PARTITION BY {extra.unique} ORDER BY _order) = 1" if extra.unique else ""
        found.append(f"FROM ({made}){once}")
        low = high
    return found + ([] if rank else _block(con, dataset, clean))


def _block(con: duckdb.DuckDBPyConnection, dataset: Dataset, clean: str) -> list[str]:
    last, rows = con.execute("SELECT getvariable('batch') = getvariable('anchor'), count(*) FROM planted").fetchone()
    if dataset.id not in BLOCKS or not last or rows < BLOCK_LEAST:
        return []
    size = min(max(rows // BLOCK_SHARE, BLOCK_ROWS[0]), BLOCK_ROWS[1])
    return [f"SELECT * EXCLUDE (_n) REPLACE ({BLOCKS[dataset.id]}), {sql.text(BLOCK)} AS _extra, {1 << 60} + _n AS _place FROM ("
            f"SELECT *, row_number() OVER (ORDER BY _h, _order) AS _n {clean} AND {BLOCK_FROM.get(dataset.id, 'true')}) WHERE _n <= {size}"]
