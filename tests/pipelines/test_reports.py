"""The batch page and the index: true numbers, no script, no outside reference, hostile text shown as text."""
from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from pipelines import reports
from pipelines.gate import RuleResult
from pipelines.settings import Lake
from pipelines.site import rendering

HOSTILE = '"><script>alert(1)</script><img src=//evil.example/x onerror=alert(1)> {{ 7*7 }} \u202e'
RULE = RuleResult("id_number.checksum", "id_number", "checksum", "校验码正确", "the check digit is right", "reject", "0302",
                  "公安厅", 0.99, 20_000, 1_204, 12, 0.9398, "fail")
BATCH = {
    "dataset": "population.person", "name": "人口基础信息", "source": "public_security", "department": "公安厅", "part": "640100",
    "batch_date": "2026-11-01", "batch_id": "population.person~public_security~640100~2026-11-01~1", "revision": 1,
    "state": "held", "reason": "1,204 of 20,000 rows (6.0 %) fail", "received_at": "2026-11-02T20:12:44Z", "decided_at": None,
    "files": 1, "bytes": 5_000_000, "lines": 20_001, "header": 1, "trailer": 0, "blank": 0, "inner_line_ends": 0,
    "unparseable": 0, "records": 20_000, "accepted": 18_796, "copies": 0, "superseded": 0, "quarantined": 1_204,
    "deletes": 0, "repaired": 12, "reading": "records", "unmapped_columns": 0, "loss_budget": 0.05}


class Page(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.attributes, self.words, self.open = [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "link", "li", "p", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            assert self.open.pop() == tag, f"{tag} closes out of order"

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)


@pytest.fixture
def lake(tmp_path):
    return Lake.open(tmp_path / "lake")


def test_a_held_page_says_what_arrived_and_why(lake):
    page = Page(reports.write_batch_report(lake, BATCH, [RULE], [
        {"region": "640104", "rule": RULE.rule, "applicable": 100, "failed": 60}, {"region": "", "rule": RULE.rule, "applicable": 9, "failed": 1}]))
    assert not page.open
    for words in ("暂缓入库", "Held", "人口基础信息", "2026-11-03 04:12:44", "1,204 of 20,000 rows (6.0 %) fail",
                  "20,000 行中有 1,204 行不成立，成立率 93.98 %，要求至少 99.00 %", "损失 6.02 %，超过损失预算 5.00 %",
                  "校验码正确", "the check digit is right", "数据格式合规性", "准确性", "守恒：两边相等", "银川市兴庆区", "地区不明"):
        assert words in page.text, words
    assert "不守恒" not in page.text


def test_an_equation_that_does_not_close_is_said(lake):
    page = Page(reports.write_batch_report(lake, BATCH | {"accepted": 18_000}, [RULE]))
    assert "不守恒：右边合计 19,204" in page.text


def test_a_refused_batch_has_a_page_without_numbers(lake):
    known = {k: BATCH[k] for k in ("dataset", "source", "part", "batch_date", "batch_id", "revision")}
    page = Page(reports.write_batch_report(lake, known | {"state": "refused"}, []))
    assert "拒读" in page.text and "没有计数" in page.text and "None" not in page.text


def test_rows_of_a_held_batch_are_not_called_accepted(lake):
    held, accepted = (Page(reports.write_batch_report(lake, BATCH | {"state": state}, [RULE])).text for state in ("held", "accepted"))
    assert "可接收，未入库" in held and "可接收，未入库" not in accepted


def test_accepted_is_green_only_when_every_measured_rule_holds(lake):
    good = replace(RULE, failed=0, pass_rate=1.0, outcome="pass")
    idle = replace(RULE, rule="a.b", applicable=0, failed=0, pass_rate=None, outcome="not_measured")
    accepted = BATCH | {"state": "accepted", "reason": None}
    assert "已测量的 1 条规则全部达标" in Page(reports.write_batch_report(lake, accepted, [good, idle])).text
    assert "1 条规则不达标，不影响入库" in Page(reports.write_batch_report(lake, accepted, [replace(RULE, severity="warn"), good])).text


@pytest.mark.parametrize("key", ["name", "department", "part", "source", "reason", "zh", "en", "owner", "region"])
def test_hostile_text_is_shown_as_text(lake, key):
    batch = BATCH | ({key: HOSTILE} if key in BATCH else {})
    rule = replace(RULE, **{key: HOSTILE}) if hasattr(RULE, key) and key != "reason" else RULE
    regions = [{"region": HOSTILE if key == "region" else "1", "rule": rule.rule, "applicable": 2, "failed": 1}]
    page = Page(reports.write_batch_report(lake, batch, [rule], regions))
    assert page.tags.count("script") == 1 and "img" not in page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert "alert(1)" in page.text and "{{ 7*7 }}" in page.text


def test_pages_load_the_sites_own_files_only(lake):
    path = reports.write_batch_report(lake, BATCH, [RULE])
    page = Page(path)
    assert not {"img", "iframe", "object"} & set(page.tags)
    assert {value for name, value in page.attributes if name == "src"} == {"../assets/site.js"}
    assert {value for name, value in page.attributes if name == "href" and "assets" in value} == {"../assets/site.css"}
    assert "//" not in path.read_text(encoding="utf-8").replace("<!DOCTYPE html>", "")
    assert "url(" not in path.read_text(encoding="utf-8") and "@import" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("batch_id", ["../../x", "a/b", "a\\b", ".hidden", "a\0b"])
def test_a_batch_id_cannot_leave_the_folder(lake, batch_id):
    with pytest.raises(ValueError):
        reports.write_batch_report(lake, BATCH | {"batch_id": batch_id}, [])


@pytest.mark.parametrize("value,shown", [(1.0, "100 %"), (0.99996, "99.99 %"), (0.9999999, "99.99 %"), (0.99, "99.00 %"), (0.29, "29.00 %"), (0.0, "0.00 %"), (None, "—")])
def test_rates_are_rounded_down(value, shown):
    assert rendering.rate(value) == shown


def test_a_dimension_is_the_mean_of_its_measured_indicators():
    half = replace(RULE, rule="a", indicator="0301", applicable=10, failed=5)
    full = replace(RULE, rule="b", indicator="0302", applicable=1_000, failed=0)
    idle = replace(RULE, rule="c", indicator="0501", applicable=0, failed=0)
    assert reports.dimensions([half, full, idle], {"records": 0}) == [{"code": "03", "name": "准确性", "score": 0.75, "rules": 2}]


def test_rows_of_the_ledger_serve_as_results(lake):
    row = vars(RULE) | {"batch_id": BATCH["batch_id"], "revision": 1}
    assert reports.write_batch_report(lake, BATCH, [row]).read_bytes() == reports.write_batch_report(lake, BATCH, [RULE]).read_bytes()


def test_an_equation_without_its_parts_is_not_called_closed(lake):
    known = {k: v for k, v in BATCH.items() if k not in ("header", "trailer", "blank", "inner_line_ends", "loss_budget")}
    text = Page(reports.write_batch_report(lake, known, [RULE])).text
    assert "共 20,001，分项没有登记" in text and text.count("守恒：两边相等") == 1


def test_a_page_is_replaced_whole(lake):
    path = reports.write_batch_report(lake, BATCH, [RULE])
    reports.write_batch_report(lake, BATCH | {"state": "accepted", "reason": None}, [RULE])
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert "已接收" in path.read_text(encoding="utf-8")
    assert re.search(r"<html lang=\"zh-CN\">", path.read_text(encoding="utf-8"))
