"""Every type keeps its own promises: each check fails on its example, good values pass, placeholders are missing."""
from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest

from pipelines.semantics import all_types, semantic_type
from tests.pipelines.semantics.layers import AS_OF, judge

TYPES = [*all_types(), semantic_type("code(sex)"), semantic_type("decimal(7,4)")]
INDICATORS = {"0101", "0105", "0201", "0302", "0503"}


def _id(kind) -> str:
    return f"{kind.name}({kind.parameter})" if kind.parameter else kind.name


@pytest.mark.parametrize("kind", TYPES, ids=_id)
def test_every_check_fails_on_its_example_with_its_reason(con, kind):
    assert kind.checks
    found = judge(con, kind, [c.must_fail for c in kind.checks])
    assert [o.reason for o in found] == [c.reason for c in kind.checks]


@pytest.mark.parametrize("kind", TYPES, ids=_id)
def test_good_values_are_stored_as_declared(con, kind):
    found = judge(con, kind, [sent for sent, _ in kind.must_pass] or [None])
    assert [(o.state, o.stored) for o in found if kind.must_pass] == [("valid", stored) for _, stored in kind.must_pass]


@pytest.mark.parametrize("kind", TYPES, ids=_id)
def test_placeholders_are_missing_and_have_no_reason(con, kind):
    assert {(o.state, o.reason) for o in judge(con, kind, [*kind.must_miss, None])} == {("missing", None)}


@pytest.mark.parametrize("kind", TYPES, ids=_id)
def test_checks_are_worded_in_two_languages_and_carry_an_indicator(kind):
    for check in kind.checks:
        assert check.indicator in INDICATORS
        assert re.search("[\u4e00-\u9fff]", check.zh.format(column="列")) and not re.search("[\u4e00-\u9fff]", check.en.format(column="c"))
    assert len({c.reason for c in kind.checks}) == len(kind.checks)


def _texts() -> list[str]:
    """Every example of every type, and what becomes of it by one change: a character lost, doubled, widened or put in, blanks, two cells joined."""
    rng = random.Random(1)
    known = sorted({sent for kind in TYPES for sent in (*(c.must_fail for c in kind.checks), *(s for s, _ in kind.must_pass), *kind.must_miss)})
    known += ["1970-01-01", "1969-12-31", "1971-02-28", "2089-12-28", "2026-11-02", "19700101", "1970年1月1日", "1971年1月1日", "1972/1/2", "1973-1/2", "1974-02-30", "1985.3.4",
              "2020-06-18 23:59:59", "2020-06-18 24:00:00", "2020-13", "1999-12", "111111", "123456", "000000", "640104", "640104001", "640104001002003", "330104", "130171",
              "张屯屯屯", "银川市大屯屯屯路12号", "王无名", "无名氏", "王某", "张�", "䶮𠮷", "阿依·买", "欧阳·阿依努尔", "1.5E+10", "12E456", "ABCDEF", "unknown",
              "110105199001010002", "91640104MA75ABC132", "111111111111111111", "0951-6012345", "0800-6012345", "13912345678", "银川市锟斤拷有限责任公司", "烫烫烫烫烫烫"]
    found = list(known)
    for one in known * 2:
        at = rng.randrange(len(one) + 1)
        put = rng.choice(["", "0", "Ａ", " ", "　", "*", "x", "X", "无", "号", "-", "E", "?", "\u200b", "某", "屯", "9", "/"])
        found += [one[:at] + put + one[at:], one[:at] + put + one[at + 1:], one.translate({i: i + 0xFEE0 for i in range(0x30, 0x3A)})]
    return [*found, *(a + b for a, b in zip(known, rng.sample(known, len(known))))]


@pytest.mark.parametrize("kind", TYPES, ids=_id)
def test_what_is_right_at_the_first_look_is_so_at_the_second(con, staging_con, kind):
    """`plain_sql` and staging's constants save time and change nothing, whatever the text."""
    sent = _texts()
    assert judge(staging_con, kind, sent) == judge(con, replace(kind, plain_sql=None), sent)
    assert not kind.plain_sql or con.execute(f"SELECT bool_or({kind.plain('x', AS_OF)}) FROM (SELECT unnest($1) AS x)", [sent]).fetchone()[0]


def test_an_unknown_type_names_the_nearest():
    with pytest.raises(ValueError, match="resident_id"):
        semantic_type("residentid")
    with pytest.raises(ValueError, match="decimal"):
        semantic_type("decimal(4,7)")


@pytest.mark.parametrize("kind, sent, standard", [
    ("resident_id", "11010519491231002X", True), ("resident_id", "11010519491231002x", False), ("resident_id", "110105491231002", False),
    ("resident_id", " 11010519491231002X", False), ("uscc", "91350100m000100y43", False), ("code(sex)", "1", True), ("code(sex)", "男", False),
    ("date", "2020-06-18", True), ("date", "20200618", True), ("date", "2020/6/18", False), ("date", "43831", False),
    ("org_name", "凤凰(宁夏)科技有限公司", False), ("org_name", "凤凰（宁夏）科技有限公司", True), ("document_no", "宁市监罚[2026]12号", False),
])
def test_the_standard_form_is_told_from_what_was_only_understood(con, kind, sent, standard):
    assert judge(con, kind, [sent])[0].form is standard


@pytest.mark.parametrize("kind, sent, stored", [
    ("text", "无", "无"), ("person_name", " 同上 ", "同上"), ("date", "19700101", "1970-01-01"), ("date", "1970/1/1", "1970-01-01")])
def test_kept_words_are_values(con, kind, sent, stored):
    assert judge(con, kind, [sent])[0].state == "missing"
    assert judge(con, kind, [sent], keep=(stored,))[0].stored == stored
    assert judge(con, kind, ["NULL"], keep=(stored,))[0].state == "missing"


@pytest.mark.parametrize("sent", ["01/02/2020", "20-01-02", "2020-13-01", "2020-02-30", "201811", "19999", "60001", "infinity", "epoch", "2020-06-18 (BC)", "2020 06 18"])
def test_dates_that_cannot_be_decided_are_refused(con, sent):
    assert judge(con, "date", [sent])[0][:3] == ("invalid", "date", None)


def test_a_date_is_judged_at_the_batch_date(con):
    assert judge(con, "date", ["2026-11-01", "2026-11-02"])[1].reason == "future"
    assert judge(con, "date(planned)", ["2026-11-02"])[0].state == "valid"
    assert judge(con, "date", ["2026-11-02"], as_of="DATE '2026-12-01'")[0].state == "valid"
    assert judge(con, "resident_id", ["640104200506071233"], as_of="DATE '2005-06-06'")[0].reason == "birth_date"


@pytest.mark.parametrize("sent, reason", [
    ("100(人民币)", "unit"), ("100(万颗)", "unit"), ("15,0000000(万)", "number"), ("1.5E+7", "number"), ("一百万", "number"), ("--5", "number"),
    ("99999999999999", "number")])
def test_amounts_whose_size_is_not_certain_are_refused(con, sent, reason):
    assert judge(con, "money(wan)", [sent])[0][:3] == ("invalid", reason, None)


@pytest.mark.parametrize("name", ["\ue863三", "王?", "李□", "锟斤拷", "张3", "ÒøÀÏ", "·李"])
def test_names_with_lost_characters_are_found(con, name):
    assert judge(con, "person_name", [name])[0].reason == "characters"


@pytest.mark.parametrize("name", ["欧阳锋", "阿卜杜拉·买买提", "㛃", "𠮷野𬭎", "〇一", "Müller O'Brien", "Ng Eng"])
def test_legal_names_are_left_alone(con, name):
    found = judge(con, "person_name", [name * (3 - len(name)) if len(name) == 1 else name])[0]
    assert found.state == "valid" and found.form


def test_the_word_lists_do_not_eat_names_that_contain_a_placeholder(con):
    assert [o.state for o in judge(con, "org_name", ["无锡第四机床厂", "其他贸易有限公司", "空"])] == ["valid", "valid", "missing"]
