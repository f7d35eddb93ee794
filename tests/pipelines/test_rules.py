"""Thresholds and their history; rules with a window and the rows beside their examples."""
from __future__ import annotations

import pytest

from pipelines import compiler
from pipelines.contract import datasets
from pipelines.keys import install
from pipelines.proof import prove
from pipelines.rules import AT_LEAST, RuleError, rules
from pipelines.semantics import reference
from pipelines.settings import Project, WrongUse
from pipelines.sql import connect
from tests.support import RESIDENCE, project

RULE = """
- rule: name_once
  zh: 一个姓名只出现一次
  en: a name occurs once
  holds: count(*) over (partition by name) = 1
  when: name is not null
  indicator: "0304"
  severity: warn
  at_least: 0.95
  changes:
    - {date: 2026-01-01, at_least: 0.9, reason: 首次确定}
    - {date: 2026-06-01, at_least: 0.95, reason: 存量已清理}
  owner: 公安局
  reason: 试验
  must_fail: {name: 赵一}
  must_pass: {name: 钱二}
  beside: [{name: 赵一}]
"""


def _read(tmp_path, text: str):
    made = project(tmp_path, population__residence=RESIDENCE.replace("LOAD", "snapshot"))
    path = made.expectations / "population" / "residence.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    found = datasets(made)[0]
    return made, found, rules(found, made)


def test_the_threshold_is_what_its_last_change_says(tmp_path):
    _, _, (found,) = _read(tmp_path, RULE)
    assert found.at_least == 0.95 and found.changes[-1] == ("2026-06-01", 0.95, "存量已清理")


@pytest.mark.parametrize(("old", "new", "says"), [
    ("  at_least: 0.95\n  changes", "  at_least: 0.97\n  changes", "at_least 0.97, but its last change says 0.95"),
    ("  at_least: 0.95\n  changes", "  changes", "at_least 0.99, but its last change says 0.95"),
    ("date: 2026-06-01", "date: 2025-06-01", "not in order of date"),
    ("date: 2026-06-01", "date: 2026-06-31", "must be YYYY-MM-DD"),
    ("reason: 存量已清理", "reason: ''", "without a reason"),
    (", reason: 首次确定", "", "without a reason"),
    ("{date: 2026-06-01, at_least: 0.95", "{date: 2026-06-01, at_least: 1.95", "without at_least between 0 and 1"),
    ("beside: [{name: 赵一}]", "beside: [{nom: 赵一}]", "name_once.beside names 'nom'"),
])
def test_a_history_that_does_not_fit_is_refused(tmp_path, old, new, says):
    with pytest.raises(RuleError, match=says):
        _read(tmp_path, RULE.replace(old, new))


def test_rows_beside_prove_a_rule_with_a_window(tmp_path):
    made, found, read = _read(tmp_path, RULE)
    con = connect()
    reference.load(con, made)
    reference.load_macros(con, made)
    install(con, bytes(32))
    assert prove(con, compiler.plan(found, read))
    alone = _read(tmp_path / "alone", RULE.replace("  beside: [{name: 赵一}]\n", ""))
    with pytest.raises(WrongUse, match="name_once: its must_fail row passes"):
        prove(con, compiler.plan(*alone[1:]))


def test_every_threshold_that_is_not_the_default_has_a_history():
    open_ended = [f"{d.id} {r.rule}" for d in datasets(Project.open()) for r in rules(d) if r.at_least != AT_LEAST[r.severity] and not r.changes]
    assert open_ended == []


def test_every_rule_has_words_of_its_own():
    for found in datasets(Project.open()):
        read = rules(found)
        assert len({r.zh for r in read}) == len({r.en for r in read}) == len(read), found.id
        assert all(len(r.reason) > 3 and r.reason != r.zh for r in read), found.id
