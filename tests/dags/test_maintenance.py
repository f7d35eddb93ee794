"""The weekly DAG's tasks, called as Airflow calls them, over a real lake."""
from __future__ import annotations

import importlib.util
import os

import pytest

from pipelines import steps
from pipelines.settings import WrongUse
from tests.support import HEADER, REPOSITORY, RESIDENCE, desk, open_gate, project, resident_id, write_csv

DATASET = "population.residence"


@pytest.fixture
def weekly(tmp_path, monkeypatch):
    """The DAG file as a module, and a lake with a published batch."""
    open_gate(monkeypatch)
    os.environ.setdefault("AIRFLOW_HOME", str(tmp_path / "airflow"))
    spec = importlib.util.spec_from_file_location("maintenance_dags", REPOSITORY / "dags" / "maintenance.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    at = desk(tmp_path, project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))
    monkeypatch.setenv("LAKE_HOME", str(at.lake.home))
    monkeypatch.setenv("LAKE_PROJECT", str(at.project.root))
    monkeypatch.delenv("LAKE_BACKUP", raising=False)
    file = write_csv(tmp_path / "640100.csv", HEADER, [(resident_id(n), "赵一", "1990-01-01", "640104", "", "") for n in range(1, 9)])
    steps.submit(DATASET, [file], "police", "2026-11-01", desk=at)
    steps.ingest(DATASET)
    steps.release(at)
    return module, at


def test_backup_maintenance_and_verify_follow_each_other(weekly, tmp_path, monkeypatch):
    module, at = weekly
    with pytest.raises(Exception, match="LAKE_BACKUP names no folder") as skipped:
        module.backup.function()
    assert type(skipped.value).__name__ == "AirflowSkipException"
    monkeypatch.setenv("LAKE_BACKUP", str(tmp_path / "another disk"))
    assert module.backup.function()["backup"] == "b000001" and (tmp_path / "another disk/backups/b000001.json").exists()
    assert [one["dataset"] for one in module.maintain.function()] == [DATASET]
    assert module.verify.function()["files"] > 20
    damaged = next((at.lake.base / DATASET / "data").glob("*/rows.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(Exception, match="bytes where .* were put. What to do: restore it: python -m pipelines restore") as caught:
        module.verify.function()
    assert type(caught.value).__name__ == "AirflowFailException"


def test_what_may_pass_is_tried_again(weekly, monkeypatch):
    module, _ = weekly
    for error, raised in ((OSError(28, "no space"), "RuntimeError"), (WrongUse("wrong"), "AirflowFailException")):
        def fail(*_, error=error):
            raise error
        monkeypatch.setattr("pipelines.maintenance.maintain", fail)
        with pytest.raises(Exception) as caught:  # noqa: B017
            module.maintain.function()
        assert type(caught.value).__name__ == raised
