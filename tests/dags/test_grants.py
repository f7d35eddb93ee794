"""The DAGs of grants, called as Airflow calls them, over a real lake: a request is tried, asked about, made, and removed in time."""
from __future__ import annotations

import pytest

from pipelines import grants, steps
from pipelines.grants import files
from tests.dags.test_desk import _answer, _module
from tests.end_to_end.test_withdrawal import send
from tests.support import RESIDENCE, desk, open_gate, project, resident_id

FORM = {"datasets": "population.residence", "role": "analyst_pii", "columns": "person_id, name", "rows": "", "purpose": "回访", "request": "申1", "until": "2099-01-01", "group": ""}


@pytest.fixture
def at(tmp_path, monkeypatch):
    open_gate(monkeypatch)
    made = desk(tmp_path, project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))
    monkeypatch.setenv("LAKE_HOME", str(made.lake.home))
    monkeypatch.setenv("LAKE_PROJECT", str(made.project.root))
    monkeypatch.setattr(grants, "today", lambda: "2098-12-31")
    send(made, "population.residence", "2026-11-01", [(resident_id(1), "赵一", "1990-01-01", "640104", "有效", "")])
    steps.release(made)
    return made


def test_a_request_is_granted_by_another_and_ends_by_itself(at, tmp_path, monkeypatch):
    module = _module(tmp_path, "grants")
    asked = module.propose.function(params=FORM)
    assert "申1" in asked["subject"] and "population.residence: person_id, name" in asked["body"] and grants.listing(at) == []
    with pytest.raises(Exception, match="no role"):
        module.propose.function(params=FORM | {"role": "boss"})
    with pytest.raises(Exception, match="not given"):
        module.enter.function(_answer(module.REFUSE), params=FORM)
    assert module.enter.function(_answer(module.AGREE), params=FORM) == 1
    assert module.enter.function(_answer(module.AGREE), params=FORM) == 1, "tried again after a death: the same grant"
    assert [(g["granted_by"], g["request"]) for g in grants.listing(at)] == [("王质控", "申1")]
    assert module.expire.function() == []
    monkeypatch.setattr(grants, "today", lambda: "2099-01-02")
    assert module.expire.function() == [1] and not files.place(at.lake, 1).exists()
