"""`check` proves again exactly what has changed, and never takes over what did not hold."""
from __future__ import annotations

import json

import pytest

from pipelines import check as checking
from pipelines.check import check
from pipelines.proofs import Proofs, place
from tests.support import RESIDENCE, project

RULE = """
- rule: named
  zh: 有姓名
  en: has a name
  holds: name <> ''
  indicator: "0201"
  severity: warn
  owner: 公安局
  reason: 试验
  must_fail: {name: ''}
  must_pass: {name: 赵}
"""


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A project of one dataset with one rule, and the names of what was proved."""
    found = project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert"))
    rules = found.expectations / "population" / "residence.yaml"
    rules.parent.mkdir()
    rules.write_text(RULE, "utf-8")
    proved = []
    real = checking.prove
    monkeypatch.setattr(checking, "prove", lambda con, plan, asked: (proved.append(plan.dataset.id), real(con, plan, asked)))
    return found, rules, tmp_path / "cache" / "proofs.json", proved


def test_what_holds_is_proved_once_and_again_when_anything_it_rests_on_changes(made, monkeypatch):
    found, rules, file, proved = made
    assert check(found, Proofs(found, file))["errors"] == [] and len(proved) == 1
    assert check(found)["errors"] == [] and len(proved) == 2, "without a file everything is proved"
    monkeypatch.setattr(checking, "connect", lambda: pytest.fail("the engine is not needed"))
    again = check(found, Proofs(found, file))
    assert again["errors"] == [] and (again["datasets"], again["rules"] > 10, len(proved)) == (1, True, 2)
    monkeypatch.undo()
    for changed in ("declared", "lists", "macros", "program"):
        state = Proofs(found).of_dataset(*_plan(found))
        if changed == "declared":
            rules.write_text(RULE + "# changed\n", "utf-8")
        elif changed == "lists":
            monkeypatch.setattr("pipelines.semantics.reference.versions", lambda *_: {"sex": "other"})
        elif changed == "macros":
            monkeypatch.setattr("pipelines.semantics.reference.macros", lambda *_: ["CREATE MACRO other() AS 1"])
        else:
            monkeypatch.setattr("pipelines.proofs.code_version", lambda: "other")
        assert Proofs(found).of_dataset(*_plan(found)) != state, changed


def _plan(found):
    errors = []
    plan = checking._plan("population.residence", found, errors)
    assert errors == []
    return plan, {plan.dataset.id: plan}


def test_what_does_not_hold_is_told_every_time_and_kept_never(made):
    found, rules, file, _ = made
    rules.write_text(RULE.replace("holds: name <> ''", "holds: name is not null"), "utf-8")
    for _ in range(2):
        assert "rule named: its must_fail row passes" in "\n".join(check(found, Proofs(found, file))["errors"])
        assert "population.residence" not in (json.loads(file.read_text()) if file.exists() else {})


def test_a_file_that_cannot_be_read_or_kept_is_no_obstacle(made, tmp_path, monkeypatch):
    found, _, file, proved = made
    file.parent.mkdir()
    file.write_text("{cut off")
    assert check(found, Proofs(found, file))["errors"] == [] and json.loads(file.read_text())["views"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))      # a file where a folder should be
    assert check(found, Proofs(found, place(found)))["errors"] == [] and len(proved) == 2
