"""The desk's DAGs: what fires them, and their tasks, called as Airflow calls them, over a real lake."""
from __future__ import annotations

import importlib.util
import os
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from airflow.sdk.execution_time.context import OutletEventAccessors

from pipelines import alerts, approvals, ledger_tables, waivers
from pipelines.assets import HELD, arrivals
from tests.pipelines import test_new_values as new_codes
from tests.pipelines.test_problems import CONTRACT, DATASET, RULE, enter, send
from tests.support import REPOSITORY, desk, project, resident_id

BATCH = f"{DATASET}~police~640100~2026-11-01~1"
FORM = {"dataset_id": DATASET, "rule": RULE, "source": "police", "part": "", "owner": "公安局", "document": "文1", "reason": "依法保留", "until": "2999-12-31"}


def _module(tmp_path, name: str):
    os.environ.setdefault("AIRFLOW_HOME", str(tmp_path / "airflow"))
    spec = importlib.util.spec_from_file_location(f"{name}_dags", REPOSITORY / "dags" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def at(tmp_path, monkeypatch):
    made = desk(tmp_path, project(tmp_path / "project", population__residence=CONTRACT))
    monkeypatch.setenv("LAKE_HOME", str(made.lake.home))
    monkeypatch.setenv("LAKE_PROJECT", str(made.project.root))
    return made


def _answer(option: str, reason: str = "部门已说明") -> dict:
    return {"chosen_options": [option], "params_input": {"reason": reason}, "responded_by_user": {"id": "officer", "name": "王质控"}}


def test_a_held_batch_is_asked_about_and_a_release_goes_on_its_way(at, tmp_path):
    module, lake = _module(tmp_path, "desk"), _module(tmp_path, "lake")
    send(at, tmp_path, "2026-11-01", 10, 10)
    events, judge = OutletEventAccessors(), SimpleNamespace(outlets=[HELD])
    assert lake.judge.function(DATASET, [f"{BATCH}~r1"], outlet_events=events, task=judge) == []
    assert {key.name: found.partition_keys for key, found in events._dict.items()} == {"held": {f"{BATCH}~r1"}}
    asked = module.ask.function(partition_key=f"{BATCH}~r1")
    assert RULE in asked["body"] and resident_id(1) not in str(asked)
    events, task = OutletEventAccessors(), SimpleNamespace(outlets=[])
    assert module.settle.function(_answer(module.HOLD), f"{BATCH}~r1", events, task) == "held" and task.outlets == []
    assert module.settle.function(_answer(module.RELEASE, " "), f"{BATCH}~r1", events, task) == "passed"
    assert {key.name: found.partition_keys for key, found in events._dict.items()} == {f"inbox/{DATASET}": {"2026-11-01"}} and task.outlets == [arrivals(DATASET)]
    a = ledger_tables.approvals
    assert [(r["decision"], r["decided_by"], r["reason"]) for r in at.ledger.rows(sa.select(a).order_by(a.c.id))] == [
        ("hold", "王质控", "部门已说明"), ("release", "王质控", "在 Airflow 中裁定，未写理由 decided in Airflow, no reason given")]
    with pytest.raises(Exception, match="nothing to decide") as skipped:
        module.ask.function(partition_key=f"{BATCH}~r1")
    assert type(skipped.value).__name__ == "AirflowSkipException"
    assert module.settle.function(_answer(module.HOLD), f"{BATCH}~r1", events, task) == "passed", "a second answer changes nothing"
    events, judge = OutletEventAccessors(), SimpleNamespace(outlets=[HELD])
    assert lake.judge.function(DATASET, [f"{BATCH}~r1"], outlet_events=events, task=judge) == [f"{BATCH}~r1"]
    assert judge.outlets == [] and not events._dict, "nothing is held: nothing is emitted"


def test_a_proposed_waiver_is_tried_and_entered_when_an_officer_agrees(at, tmp_path):
    module = _module(tmp_path, "desk")
    assert "2999-12-31" in module.propose.function(params=FORM)["body"] and waivers.listing(at) == []
    with pytest.raises(Exception, match="has no rule"):
        module.propose.function(params=FORM | {"rule": "no.rule"})
    with pytest.raises(Exception, match="not granted"):
        module.grant.function(_answer(module.REFUSE), params=FORM)
    assert module.grant.function(_answer(module.GRANT), params=FORM) == 1
    assert [(w["granted_by"], w["part"], w["expires_on"]) for w in waivers.listing(at)] == [("王质控", None, "2999-12-31")]


def test_a_proposed_code_is_accepted_by_another_and_the_held_batch_is_judged_again(at, tmp_path):
    module, lake = _module(tmp_path, "desk"), _module(tmp_path, "lake")
    at.project.contracts.joinpath("population", "residence.yaml").write_text(new_codes.contract(), encoding="utf-8")
    assert new_codes.send(at, tmp_path, new_codes.PLANTED) == []
    form = {"dataset_id": DATASET, "column": "status", "value": "8x", "label": "暂停（试点）", "document": "人社发〔2026〕1号"}
    asked = module.examine.function(params=form)
    assert "status 8X" in asked["subject"] and "4 行 rows" in asked["body"] and resident_id(1) not in str(asked) and at.ledger.added_codes() == ()
    assert "status 8X: 4" in approvals.ask(f"{new_codes.BATCH}~r1", at)["body"], "who is asked to release it sees the code"
    with pytest.raises(Exception, match="at most eight"):
        module.examine.function(params=form | {"value": "张三丰"})
    events, task = OutletEventAccessors(), SimpleNamespace(outlets=[])
    with pytest.raises(Exception, match="not accepted"):
        module.accept.function(_answer(module.REFUSE), form, events, task)
    assert module.accept.function(_answer(module.GRANT), form, events, task) == 1
    assert {key.name: found.partition_keys for key, found in events._dict.items()} == {f"inbox/{DATASET}": {"2026-01-01"}} and task.outlets == [arrivals(DATASET)]
    assert module.accept.function(_answer(module.GRANT), form, events, task) == 1, "tried again after a death: entered once, fired again"
    assert [(r["accepted_by"], r["value"]) for r in at.ledger.rows(sa.select(ledger_tables.accepted_values))] == [("王质控", "8X")]
    keys = lake.receive.function(DATASET, partition_key="2026-01-01")["keys"]
    events, judge = OutletEventAccessors(), SimpleNamespace(outlets=[HELD])
    assert lake.judge.function(DATASET, keys, outlet_events=events, task=judge) == [f"{new_codes.BATCH}~r1"]


def test_messages_that_fail_are_tried_again(at, tmp_path, monkeypatch):
    module = _module(tmp_path, "desk")
    enter(at, "2026-11-01", 20, 10)
    assert module.alert.function() == {"no channel": 1}
    monkeypatch.setenv("LAKE_ALERT_WEBHOOK_DEFAULT", "http://127.0.0.1:9/SECRET")
    with pytest.raises(RuntimeError, match="1 of 1 messages") as failed:
        module.alert.function()
    assert "SECRET" not in str(failed.value)
    monkeypatch.setattr(alerts, "send", lambda: [{"outcome": "sent"}])
    assert module.alert.function() == {"sent": 1}
