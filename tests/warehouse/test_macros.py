"""The macros analysts get: documented, callable with or without a date, safe against their callers' column names."""
from __future__ import annotations

import csv
import re

import pytest

from pipelines.semantics import reference
from pipelines.settings import Project
from pipelines.sql import connect, text
from tests.support import REPOSITORY

PROJECT = Project(REPOSITORY)
VECTORS = list(csv.DictReader((REPOSITORY / "tests/pipelines/semantics/identifier_test_vectors.csv").open(encoding="utf-8")))
REASONS = {"ric18": "resident_id_reason", "ric15": "resident_id_reason", "hmt_permit18": "resident_id_reason", "fpr18": "resident_id_reason",
           "fpr15": "resident_id_reason", "uscc": "uscc_reason", "orgcode9": "org_code_reason", "bizlic15": "reg_no_reason", "ecert": "ecert_id_reason",
           "mobile": "mobile_reason", "postcode": "postal_code_reason"}


@pytest.fixture(scope="module")
def con():
    made = connect()
    reference.load(made, PROJECT)
    reference.load_macros(made, PROJECT)
    yield made
    made.close()


def one(con, expression: str):
    return con.execute(f"SELECT {expression}").fetchone()[0]


@pytest.mark.parametrize("kind", sorted(REASONS))
def test_the_vectors_hold(con, kind):
    mine = [v for v in VECTORS if v["kind"] == kind]
    asks = ", ".join(f"{REASONS[kind]}({text(v['value'])}), is_{REASONS[kind].removesuffix('_reason')}({text(v['value'])})" for v in mine)
    found = con.execute(f"SELECT {asks}").fetchone()
    for i, v in enumerate(mine):
        assert (v["value"], found[2 * i] or "", found[2 * i + 1]) == (v["value"], v["reason"], v["valid"] == "1")


def test_every_vector_has_a_macro():
    assert len(VECTORS) == 71 and {v["kind"] for v in VECTORS} == set(REASONS)


def test_public_macros_carry_their_comment_in_two_languages(con):
    found = con.execute("SELECT DISTINCT function_name, comment FROM duckdb_functions() WHERE NOT internal AND function_type = 'macro' "
                        "AND function_name NOT LIKE '\\_%' ESCAPE '\\'").fetchall()
    assert len(found) > 60
    assert [n for n, words in found if not (words and re.search("[\u4e00-\u9fff]", words) and re.search("[A-Za-z]{4}", words))] == []


@pytest.mark.parametrize("ask, answer", [
    ("resident_id_birth_date('11010519491231002X')::VARCHAR", "1949-12-31"), ("resident_id_sex('11010519491231002X')", "2"),
    ("resident_id_18('110105491231002')", "11010519491231002X"), ("resident_id_region_code('11010519491231002X')", "110105"),
    ("resident_id_region_code('810000199003070015')", None), ("resident_id_age('11010519491231002X', DATE '2009-12-30')", 59),
    ("is_resident_id('640104200506071233', DATE '2004-01-01')", False), ("is_resident_id(NULL)", False), ("is_resident_id('无')", False),
    ("uscc_org_code('91350100M000100Y43')", "M000100Y4"), ("uscc_region_code('91350100M000100Y43')", "350100"),
    ("uscc_lenient_reason('91640104123456780R')", None), ("region_name('330104')", "江干区"), ("region_name('440106', DATE '1986-05-01')", "芳村区"),
    ("region_current_code('330104')", None), ("region_current_code('330103')", "330105"), ("region_current_code('640102')", None), ("is_region_code('330104', DATE '2026-01-01')", False),
    ("is_region_code('330104', DATE '2000-01-01')", True), ("code_name('sex', '1')", "男"), ("is_long_term('2099/12/31')", True),
    ("parse_date('2020年6月8日')::VARCHAR", "2020-06-08"), ("parse_money_wan('9(人民币元)')::VARCHAR", "0.000900"),
    ("org_name_key('凤凰(宁夏) 科技有限责任公司') = org_name_key('凤凰（宁夏）科技有限公司')", True),
    ("org_name_key('凤凰（宁夏）科技有限公司') = org_name_key('宁夏凤凰科技有限公司')", False),
    ("address_key('宁夏回族自治区银川市兴庆区解放西街１２号 3号楼') = address_key('银川市兴庆区解放西街12号3栋')", True),
    ("person_name_key('阿依古丽·买买提') = person_name_key('阿依古丽.买买提')", True)])
def test_answers(con, ask, answer):
    assert one(con, ask) == answer


def test_callers_columns_are_not_captured(con):
    row = con.execute("""SELECT region_name(code), region_current_code(code), code_name('sex', name), region_name(code, valid_from)
                         FROM (SELECT '330103' AS code, '2' AS name, DATE '1999-01-01' AS valid_from, 'x' AS label, 'y' AS list, true AS is_current)""").fetchone()
    assert row == ("下城区", "330105", "女", "下城区")


def test_answers_are_the_same_row_by_row(con):
    found = con.execute("""SELECT count(*) FILTER (is_resident_id(x)), count(*) FILTER (resident_id_reason(x) = 'checksum')
                           FROM (SELECT unnest(['11010519491231002X', '110105194912310021', '110105491231002', NULL]) AS x)""").fetchone()
    assert found == (2, 1)
