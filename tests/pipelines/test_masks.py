"""Which columns analysts get, and which datasets are refused because a person could be shown or rebuilt."""
from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines import compiler, masks
from pipelines.contract import datasets
from pipelines.semantics import reference
from pipelines.settings import Project, WrongUse
from pipelines.sql import connect
from tests.pipelines.test_release import RESIDENT
from tests.support import REPOSITORY, project


@pytest.fixture(scope="module")
def resident(tmp_path_factory):
    made = project(tmp_path_factory.mktemp("masks"), population__resident=RESIDENT)
    return compiler.plan(datasets(made)[0], ())


def changed(plan, **columns):
    """The plan with attributes of some columns changed: `sex_code={"mask": "omit"}`."""
    found = replace(plan.dataset, columns=tuple(replace(c, **columns.get(c.name, {})) for c in plan.dataset.columns))
    return replace(plan, dataset=found)


def refusal(plan):
    with pytest.raises(WrongUse) as error:
        masks.judge(plan)
    return str(error.value)


def test_defaults_follow_type_and_classification(resident):
    masks.judge(resident)
    given = {c.source_column: (c.name, c.mask) for c in masks.published(resident)}
    assert given["id_number"] == ("person_id", "pseudonym")
    assert given["birth_date"] == ("birth_year", "year")
    assert given["death_date"] == ("death_month", "month")
    assert given["committee_code"] == ("committee_county_code", "county")
    assert given["household_no"] == ("household_no_pseudonym", "pseudonym")
    assert given["sex_code"] == ("sex_code", "keep") and given["note"] == ("note", "redact")
    assert not {"name", "phone", "religion_code"} & set(given)


def test_words_of_a_generalised_column(resident):
    words = {c.name: c.comment for c in masks.published(resident)}
    assert words["birth_year"] == "出生年份 — Date of birth (year)"
    assert words["person_id"] == "公民身份号码（假名） — Citizen identity number (pseudonym)"


@pytest.mark.parametrize("columns, by", [
    ({"birth_date": {"mask": "month"}}, "birth_month"),
    ({"id_number": {"mask": "first6"}, "birth_date": {"mask": "month"}}, "id_number_first6"),
])
def test_a_dataset_that_rebuilds_a_number_is_refused(resident, columns, by):
    message = refusal(changed(resident, **columns))
    assert "population.resident: an identity number can be rebuilt" in message and by in message and "15,000 candidates" in message


def test_a_coarser_neighbour_makes_room(resident):
    masks.judge(changed(resident, birth_date={"mask": "month"}, region_code={"mask": "omit"}, committee_code={"mask": "omit"}))
    masks.judge(changed(resident, id_number={"mask": "first6"}))


@pytest.mark.parametrize("positions, left", [
    ((), 3200 * 100 * 12 * 30 * 1000), (range(1, 15), 1000), ((*range(1, 15), 17), 500), (range(1, 19), 1),
    ((*range(1, 7), 15, 16, 17, 18), 100 * 12 * 30 // 11), ((*range(1, 11), 17), 180_000),
])
def test_candidates(positions, left):
    assert masks.candidates(frozenset(positions)) == left


@pytest.mark.parametrize("column, change, message", [
    ("name", {"mask": "keep"}, "column name is a personal person_name and must not be published as it is; use mask 'omit'"),
    ("birth_date", {"mask": "keep"}, "use mask 'year'"),
    ("note", {"mask": "keep"}, "use mask 'redact'"),
    ("household_no", {"mask": "keep"}, "use mask 'pseudonym'"),
    ("religion_code", {"mask": "keep"}, "column religion_code is sensitive (PIPL art. 28) and must be omitted"),
    ("id_number", {"classification": "internal"}, "must be classified personal or sensitive"),
    ("sex_code", {"mask": "year"}, "mask 'year' is for date, end_date, timestamp, not for code"),
    ("sex_code", {"mask": "hash"}, "names mask 'hash'; masks are keep, omit"),
    ("region_code", {"classified_when": "true", "classified_then": "public"}, "must make it stricter"),
    ("household_no", {"pseudonym": "person_id"}, "two columns would be published as 'person_id'"),
])
def test_escalations_are_refused_with_what_to_do(resident, column, change, message):
    assert message in refusal(changed(resident, **{column: change}))


def test_conditional_classification_is_strict_where_it_cannot_be_decided(resident):
    plan = changed(resident, region_code={"classified_when": "sex_code = '1'", "classified_then": "sensitive"})
    sql = next(c.sql for c in masks.published(plan) if c.name == "region_code")
    con = connect()
    found = con.execute(f"SELECT {sql} FROM (VALUES ('1', 'a'), ('2', 'b'), (NULL, 'c')) t(sex_code, region_code)").fetchall()
    assert found == [(None,), ("b",), (None,)]


def test_every_contract_of_the_repository_is_safe_to_publish():
    for found in datasets(Project(REPOSITORY)):
        plan = compiler.plan(found, ())
        masks.judge(plan)
        names = {c.name for c in masks.published(plan)}
        assert not names & {"id_number", "name_of_person", "legal_rep_name", "legal_rep_id_number", "phone", "email", "hukou_address", "birth_date",
                            "religion_code", "political_code", "bank_last4", "cause_code"}
        assert masks.candidates(masks.revealed(plan)[0]) >= masks.FEWEST_CANDIDATES


@pytest.mark.parametrize("text, left", [
    ("王小明电话13800138000", "〔姓名〕电话〔号码〕"), ("640104 20050607 123X", "〔号码〕"), ("６４０１０４２００５０６０７１２３３", "〔号码〕"),
    ("港澳H12345678", "港澳〔号码〕"), ("信箱 x.y@z.cn。", "信箱 〔邮箱〕。"), ("罚款2000元，2026-11-01", "罚款2000元，2026-11-01"),
    ("王 小 明", "〔姓名〕"), ("王某", "王某"), (None, None), ("座机0951-6012345", "座机〔号码〕"),
])
def test_redact(text, left):
    con = connect()
    for statement in reference.macros(Project(REPOSITORY)):
        if "redact" in statement or "without_" in statement:
            con.execute(statement)
    assert con.execute("SELECT redact($1, ['王小明', NULL, '李'])", [text]).fetchone() == (left,)
