"""Code lists: every code stands for itself, aliases are unambiguous, divisions live in time, lists.yaml is read strictly."""
from __future__ import annotations

import shutil

import pytest

from pipelines.semantics import reference
from pipelines.settings import Project, WrongUse
from tests.pipelines.semantics.layers import judge
from tests.support import REPOSITORY

PROJECT = Project(REPOSITORY)


@pytest.mark.parametrize("one", [one for one in reference.declared(PROJECT) if one.code], ids=lambda one: one.list)
def test_every_code_and_label_of_a_list_is_understood(con, one):
    rows = con.execute("SELECT code, label FROM reference.code WHERE list = ?", [one.list]).fetchall()
    found = judge(con, f"code({one.list})", [code for code, _ in rows])
    assert [o.stored for o in found] == [code for code, _ in rows]
    assert {o.reason for o in judge(con, f"code({one.list})", [alias for alias, _ in one.aliases] or [None])} == {None}


@pytest.mark.parametrize("kind, sent, state, stored", [
    ("code(sex)", "男", "valid", "1"), ("code(sex)", " f ", "valid", "2"), ("code(sex)", "0", "valid", "0"), ("code(ethnic_group)", "0", "missing", None),
    ("code(ethnic_group)", "3", "repaired", "03"), ("code(ethnic_group)", "回", "valid", "03"), ("code(ethnic_group)", "99", "invalid", None),
    ("code(marital_status)", "2", "valid", "20"), ("code(entity_status)", "存续（在营、开业、在册）", "valid", "1"),
    ("code(entity_status)", "吊销，未注销", "valid", "2"), ("code(yes_no)", "0", "valid", "0"), ("code(education_level)", "72", "valid", "73")])
def test_codes_labels_and_spellings(con, kind, sent, state, stored):
    assert judge(con, kind, [sent])[0][::2][:2] == (state, stored)


def test_a_list_text_of_two_codes_stands_for_none(con):
    assert con.execute('SELECT count(*) FROM (SELECT list, alias FROM reference.code_alias GROUP BY ALL HAVING count(*) > 1)').fetchone() == (0,)
    assert con.execute("SELECT count(*) FROM reference.code_alias WHERE list = 'uscc_authority_type' AND alias = '其他'").fetchone() == (0,)


def test_divisions_live_in_time(con):
    rows = con.execute("SELECT valid_from::VARCHAR, valid_to::VARCHAR, current_code, is_current FROM reference.region WHERE code IN ('110103', '330104') ORDER BY 3").fetchall()
    assert rows == [("1980-01-01", "2010-12-31", "110101", False), ("1980-01-01", "2021-12-31", None, False)]      # the second was split
    assert [r[0] for r in con.execute("SELECT name FROM reference.region WHERE code = '440106' ORDER BY valid_from").fetchall()] == ["芳村区", "天河区"]
    assert con.execute("SELECT count(*) FROM reference.region WHERE valid_from > coalesce(valid_to, valid_from)").fetchone() == (0,)
    assert con.execute("SELECT count(*) FROM reference.region WHERE is_current AND current_code <> code").fetchone() == (0,)


@pytest.mark.parametrize("sent, state, reason, stored", [
    ("330104", "invalid", "obsolete", None), ("330103", "repaired", "obsolete", "330105"), ("640102", "invalid", "obsolete", None), ("440106", "valid", None, "440106"),
    ("649999", "invalid", "code", None), ("640104001002", "repaired", "length", "640104"), ("宁夏回族自治区银川市兴庆区", "repaired", "format", "640104"),
    ("银川市 兴庆区", "repaired", "format", "640104"), ("朝阳区", "invalid", "format", None), ("64010", "invalid", "length", None)])
def test_an_address_takes_the_one_successor_or_none(con, sent, state, reason, stored):
    assert judge(con, "region_code(current)", [sent])[0][:3] == (state, reason, stored)


def test_a_code_is_in_force_at_the_date_of_its_batch(con):
    assert judge(con, "region_code(current)", ["330104"], as_of="DATE '2020-06-30'")[0].state == "valid"
    assert judge(con, "region_code", ["330104", "640102"])[1].state == "valid"


def _copy(tmp_path, old: str, new: str) -> Project:
    shutil.copytree(REPOSITORY / "warehouse/reference", tmp_path / "warehouse/reference")
    shutil.copytree(REPOSITORY / "warehouse/macros", tmp_path / "warehouse/macros")
    path = tmp_path / "warehouse/reference/lists.yaml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    return Project(tmp_path)


@pytest.mark.parametrize("old, new, message", [
    ("list: sex, file: sex.csv", "list: sex, fil: sex.csv", "fil"), ("file: sex.csv", "file: gender.csv", "gender.csv"),
    ("code: code, label: name, alias_columns: [name, name_en]", "code: kode, label: name, alias_columns: [name, name_en]", "kode"),
    ("name_en: [英文名称, English name]", "name_fr: [英文名称, English name]", "name_fr")])
def test_a_wrong_declaration_is_refused_with_its_place(tmp_path, old, new, message):
    with pytest.raises(WrongUse, match=message):
        reference.declared(_copy(tmp_path, old, new))


def test_versions_follow_the_file_and_the_declaration(tmp_path):
    before = reference.versions(PROJECT)
    after = reference.versions(_copy(tmp_path, "男性: \"1\"", "男生: \"1\""))
    assert {k for k in before if before[k] != after[k]} == {"sex"}
    assert reference.versions_hash(PROJECT) != reference.versions_hash(Project(tmp_path))
