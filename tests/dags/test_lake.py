"""The DAGs as Airflow reads them: one per contract, light, always the same, and retried only where that can help.

Airflow is parsed in processes of its own, over a throw-away AIRFLOW_HOME.
"""
from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk.execution_time.context import OutletEventAccessors

from pipelines.contract import datasets
from pipelines.settings import Later, Project, WrongUse
from tests.extraction import contract
from tests.support import REPOSITORY, RESIDENCE, project

DESK = ["accept_value", "approvals", "desk", "desk.daily", "grant", "grants.daily", "waive"]
HEAVY = {"pandas", "duckdb", "pyarrow", "pyiceberg", "great_expectations", "pipelines.steps"}


def _parse(home: Path, root: Path, *want: str, seed: int = 1) -> dict:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")}
    env = clean | {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "PYTHONHASHSEED": str(seed),
                   "PYTHONPATH": str(REPOSITORY), "LAKE_PROJECT": str(root)}
    script = [sys.executable, str(Path(__file__).with_name("parse.py")), str(REPOSITORY / "dags"), *want]
    done = subprocess.run(script, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(scope="module")
def parsed(home):
    return _parse(home, REPOSITORY)


@pytest.fixture(scope="module")
def lake(home):
    """The DAG file as a module, to call its task functions."""
    os.environ.update(AIRFLOW_HOME=str(home), AIRFLOW__CORE__LOAD_EXAMPLES="False", LAKE_PROJECT=str(REPOSITORY))
    spec = importlib.util.spec_from_file_location("lake_dags", REPOSITORY / "dags" / "lake.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    del os.environ["LAKE_PROJECT"]
    return module


def test_every_contract_has_its_dag_and_one_dag_publishes(parsed):
    ids = [d.id for d in datasets(Project(REPOSITORY))]
    assert parsed["errors"] == {}
    assert sorted(parsed["tasks"]) == sorted([*(f"ingest.{i}" for i in ids), "health_check", "inbox", "maintenance", "release", *DESK])
    assert parsed["titles"]["ingest.population.person"] == "人口基础信息 population.person"


def test_steps_follow_each_other_and_only_commit_announces(parsed):
    tasks = parsed["tasks"]["ingest.population.person"]
    assert {name: t["downstream"] for name, t in tasks.items()} == {
        "receive": ["feedback", "judge", "verdict"], "judge": ["commit"], "commit": ["feedback", "verdict"], "verdict": [],
        "feedback": []}
    assert {name: t["outlets"] for name, t in tasks.items() if t["outlets"]} == {"judge": ["lake://held/"], "commit": ["lake://base/population.person"]}
    assert tasks["verdict"]["trigger"] == "none_failed", "the verdict is given also when nothing was committed"


def test_an_accepted_code_is_asked_about_and_can_fire_every_dataset(parsed):
    tasks = parsed["tasks"]["accept_value"]
    assert {name: t["downstream"] for name, t in tasks.items()} == {"examine": ["decide"], "decide": ["accept"], "accept": []}
    assert sorted(tasks["accept"]["outlets"]) == sorted(f"lake://inbox/{d.id}" for d in datasets(Project(REPOSITORY)))
    assert parsed["runs"]["accept_value"] == 256 and not parsed["schedules"].get("accept_value")


def test_the_inbox_is_watched_and_fires_every_dataset_by_an_asset_of_its_own(parsed):
    announce = parsed["tasks"]["inbox"]["announce"]
    assert announce["pool"] == "default_pool" and announce["downstream"] == ["left"]
    assert sorted(announce["outlets"]) == sorted(f"lake://inbox/{d.id}" for d in datasets(Project(REPOSITORY)))
    assert parsed["schedules"]["inbox"] == ["lake://inbox/"]
    assert parsed["schedules"]["ingest.population.person"] == ["lake://inbox/population.person"]
    assert parsed["watchers"] == {"inbox": {"arrivals": "pipelines.arrivals.Arrivals"}}


def test_only_steps_that_a_retry_can_help_are_retried(parsed):
    retries = {(name, t["retries"]) for tasks in parsed["tasks"].values() for name, t in tasks.items()}
    assert retries == {("announce", 2), ("left", 0), ("receive", 2), ("judge", 2), ("commit", 2), ("verdict", 0), ("feedback", 2), ("publish", 2),
                       ("backup", 2), ("maintain", 2), ("verify", 0), ("write", 2), ("alert", 3), ("ask", 2), ("decide", 0), ("settle", 2),
                       ("propose", 2), ("grant", 2), ("examine", 2), ("accept", 2), ("enter", 2), ("expire", 2)}


def test_one_run_per_dataset_and_one_publisher_that_waits_for_the_engines(parsed):
    slots = json.loads((REPOSITORY / "dags" / "pools.json").read_text())["engine"]["slots"]
    publish = parsed["tasks"]["release"]["publish"]
    assert {i: n for i, n in parsed["runs"].items() if n != 1} == {"accept_value": 256, "approvals": 256, "grant": 256, "waive": 256}, "a batch that waits for an answer blocks no other"
    assert (publish["pool"], publish["slots"]) == ("engine", slots)
    assert all(t["priority"] > publish["priority"] for t in parsed["tasks"]["ingest.population.person"].values())


def test_two_parses_serialise_identically(home, parsed):
    assert _parse(home, REPOSITORY, seed=2)["hashes"] == parsed["hashes"]


def test_parsing_loads_nothing_heavy(parsed):
    assert HEAVY.isdisjoint(parsed["modules"])


def test_two_hundred_contracts_parse_within_a_second(home, tmp_path):
    person = (REPOSITORY / "warehouse" / "contracts" / "population" / "person.yaml").read_text("utf-8")
    many = {f"population__d{i:03}": person.replace("population.person", f"population.d{i:03}") for i in range(200)}
    found = _parse(home, project(tmp_path, **many).root)
    assert len(found["tasks"]) == 204 + len(DESK)
    assert found["seconds"] < 1.0


def test_a_task_builds_its_own_dag_only(home):
    for dag in ("ingest.credit.abnormal_list", "release", "accept_value"):      # one of each file's kind
        assert list(_parse(home, REPOSITORY, dag)["tasks"]) == [dag]


def test_the_lake_is_looked_after_every_week(parsed):
    tasks = parsed["tasks"]["maintenance"]
    assert {name: t["downstream"] for name, t in tasks.items()} == {"backup": ["maintain"], "maintain": ["verify"], "verify": []}
    assert parsed["timetables"]["maintenance"] == ["CronTriggerTimetable", "0 2 * * 0"]
    assert tasks["maintain"]["slots"] == 2 and tasks["verify"]["trigger"] == "none_failed", "no backup is no reason not to look"


def test_health_checks_are_written_every_month(parsed):
    assert list(parsed["tasks"]["health_check"]) == ["write"]
    assert parsed["timetables"]["health_check"] == ["CronTriggerTimetable", "0 6 5 * *"]


def test_a_database_is_extracted_by_a_dag_of_its_own(home, tmp_path):
    """At midnight where the contract says so, else by hand; each run tells the dataset's own."""
    broken = contract("mysql", schedule="midnight").replace("population.residence", "population.broken")
    timed = contract("mysql", schedule="0 0 * * 1").replace("population.residence", "population.timed")
    root = project(tmp_path, population__residence=contract("postgresql"), population__timed=timed, population__broken=broken, population__files=RESIDENCE.replace("population.residence", "population.files")).root
    found = _parse(home, root)
    assert found["errors"] == {}
    assert sorted(i for i in found["tasks"] if i.startswith("extract.")) == ["extract.population.broken", "extract.population.residence", "extract.population.timed"]
    assert found["tasks"]["extract.population.timed"] == {"extract_office": {
        "downstream": [], "retries": 48, "pool": "default_pool", "slots": 1, "trigger": "all_success", "outlets": ["lake://inbox/population.timed"], "priority": 10}}
    assert found["timetables"]["extract.population.timed"] == ["CronPartitionTimetable", "0 0 * * 1"]
    assert found["timetables"]["extract.population.residence"][0] == "PartitionedAtRuntime"
    assert list(_parse(home, root, "extract.population.timed")["tasks"]) == ["extract.population.timed"]
    assert HEAVY.isdisjoint(found["modules"]) and "sqlalchemy.dialects.oracle" not in found["modules"]


def test_an_extraction_passes_on_counts_and_is_asked_again_only_when_that_can_help(lake, monkeypatch):
    monkeypatch.setattr("pipelines.steps.extract", lambda *given: [{"outcome": "landed", "batch_id": "b", "read": 5, "given": given}])
    assert lake.extract.function("population.person", "office", partition_key="2026-11-01") == {"read": 5}
    monkeypatch.setattr("pipelines.steps.extract", lambda *given: [{"outcome": "unchanged"}])
    with pytest.raises(Exception, match="nothing changed") as caught:
        lake.extract.function("population.person", "office", partition_key="2026-11-01")
    assert type(caught.value).__name__ == "AirflowSkipException"
    for error, raised in ((Later("outside its window"), "RuntimeError"), (WrongUse("refused the login"), "AirflowFailException")):
        monkeypatch.setattr("pipelines.steps.extract", _raising(error))
        with pytest.raises(Exception, match=str(error)) as caught:
            lake.extract.function("population.person", "office", partition_key="2026-11-01")
        assert type(caught.value).__name__ == raised
    with pytest.raises(Exception, match="Give the batch date"):
        lake.extract.function("population.person", "office", partition_key=None)


def _raising(error: Exception):
    def fail(*_):
        raise error

    return fail


def test_a_wrong_contract_stops_no_other_dataset(home, tmp_path):
    broken = {"population__broken": "id: [", "population__residence": RESIDENCE}
    found = _parse(home, project(tmp_path, **broken).root)
    assert found["errors"] == {}
    assert sorted(found["tasks"]) == sorted(["health_check", "inbox", "ingest.population.broken", "ingest.population.residence", "maintenance", "release", *DESK])


@pytest.mark.parametrize("error, raised, text", [
    (WrongUse("population.person has no source 'x'."), "AirflowFailException", "population.person has no source 'x'."),
    (ValueError("110105194912310021 is not a date"), "AirflowFailException", "ValueError at"),
    (OSError(28, "No space left", "张三.csv"), "RuntimeError", "OSError (No space left on device) at"),
])
def test_a_failed_step_is_retried_only_for_trouble_outside_the_data_and_quotes_none(lake, monkeypatch, error, raised, text):
    def fail(*_):
        raise error

    monkeypatch.setattr("pipelines.steps.stage", fail)
    with pytest.raises(Exception) as caught:
        lake.judge.function("population.person", ["k"])
    assert type(caught.value).__name__ == raised
    assert text in str(caught.value)
    assert "110105194912310021" not in str(caught.value) and "张三" not in str(caught.value)
    assert caught.value.__context__ is None, "the log would print it"


def test_a_run_without_a_batch_date_is_refused(lake):
    with pytest.raises(Exception, match="Give the batch date"):
        lake.receive.function("population.person", partition_key=None)


def test_a_held_batch_fails_the_run_and_says_what_to_do(lake, monkeypatch):
    monkeypatch.setattr("pipelines.steps.report", lambda *_: ["held: 5 of 10 rows. See: python -m pipelines why k"])
    with pytest.raises(Exception, match="python -m pipelines why k"):
        lake.verdict.function("population.person", ["k"])


@pytest.mark.parametrize("keys, stuck, goes_on", [(["k"], [], {"keys": ["k"]}), ([], ["not taken: …"], {"keys": []}), ([], [], {})])
def test_a_run_goes_on_for_new_batches_and_to_say_what_must_stay(lake, monkeypatch, keys, stuck, goes_on):
    monkeypatch.setattr("pipelines.steps.receive", lambda *_: keys)
    monkeypatch.setattr("pipelines.steps.report", lambda dataset, keys, desk, day: {"2026-11-01": stuck}[day])
    assert lake.receive.function("population.person", partition_key="2026-11-01") == goes_on
    if not keys:
        with pytest.raises(Exception, match="no batch") as caught:
            lake.judge.function("population.person", keys)
        assert type(caught.value).__name__ == "AirflowSkipException"


def test_what_is_staged_is_judged_by_the_same_task_and_an_officer_is_asked_also_about_what_a_killed_try_has_held(lake, monkeypatch):
    given = {"pipelines.steps.stage": ["b", "c"], "pipelines.steps.judge": ["c"], "pipelines.approvals.awaiting": ["a", "b"]}
    asked = []
    for name, answer in given.items():
        monkeypatch.setattr(name, lambda *with_, name=name, answer=answer: asked.append((name, with_[-1])) or answer)
    outlets, task = OutletEventAccessors(), SimpleNamespace(outlets=["all"])
    assert lake.judge.function(PERSON, ["a", "b", "c"], outlets, task) == ["c"]
    assert asked == [("pipelines.steps.stage", ["a", "b", "c"]), ("pipelines.steps.judge", ["b", "c"]), ("pipelines.approvals.awaiting", ["a", "b", "c"])]
    assert [(a.name, outlets[a].partition_keys) for a in task.outlets] == [("held", {"a", "b"})]


PERSON, DEATH = "population.person", "population.death"
BOTH = [["2026-11-01", "not taken: one of November"], ["", "not taken: no date"]]


@pytest.mark.parametrize("changes, emitted, said", [
    ([{"arrived": [[PERSON, "2026-11-01"], [PERSON, "2026-12-01"]], "troubled": []}], {PERSON: {"2026-11-01", "2026-12-01"}}, []),
    ([{"arrived": [[PERSON, "2026-11-01"]], "troubled": [[PERSON, "2026-11-01"]]}], {PERSON: {"2026-11-01"}}, []),
    ([{"arrived": [[DEATH, "2026-11-01"]], "troubled": []}, {"arrived": [], "troubled": [[PERSON, ""]]}], {DEATH: {"2026-11-01"}}, ["not taken: no date"]),
    ([{"arrived": [["no.such", "2026-11-01"]], "troubled": [["no.such", ""]]}], {}, []),
    ([], {PERSON: {"2026-10-01"}, DEATH: {"2026-10-01"}}, [m for _, m in BOTH] * 2),
], ids=["arrived", "its run tells", "another", "no contract", "by hand"])
def test_arrivals_become_events_by_dataset_and_date_and_nothing_else(lake, monkeypatch, changes, emitted, said):
    monkeypatch.setattr("pipelines.steps.notice", lambda dataset: {"dates": ["2026-10-01"], "left": BOTH})
    events = {"inbox": [SimpleNamespace(extra={"from_trigger": True, "payload": c}) for c in changes]} if changes else {}
    outlets, task = OutletEventAccessors(), SimpleNamespace(outlets=["all"])
    assert lake.announce.function([PERSON, DEATH], events, outlets, task) == said
    assert {key.name.removeprefix("inbox/"): found.partition_keys for key, found in outlets._dict.items()} == emitted
    assert {a.name.removeprefix("inbox/") for a in task.outlets} == set(emitted)


def test_what_must_stay_in_the_inbox_fails_its_run(lake):
    with pytest.raises(Exception, match="not taken: no date"):
        lake.left.function(["not taken: no date"])


def test_nothing_accepted_announces_nothing(lake):
    with pytest.raises(Exception, match="no batch was accepted") as caught:
        lake.commit.function("population.person", [])
    assert type(caught.value).__name__ == "AirflowSkipException"


@pytest.mark.parametrize("behind, done, said", [
    (3, {"release_id": 1, "datasets": 5, "rows": 9}, "3 later runs wait"),
    (0, None, "Nothing changed"),
])
def test_a_release_run_is_skipped_when_a_later_one_waits_or_nothing_changed(lake, monkeypatch, behind, done, said):
    monkeypatch.setattr("pipelines.steps.release", lambda: done)
    with pytest.raises(Exception, match=said) as caught:
        lake.publish.function(ti=_Queue(behind))
    assert type(caught.value).__name__ == "AirflowSkipException"


def test_the_last_release_run_publishes_and_passes_on_counts_only(lake, monkeypatch):
    done = {"release_id": 1, "datasets": 5, "rows": 9, "written": ["population.person"], "database": "/lake/lake.duckdb"}
    monkeypatch.setattr("pipelines.steps.release", lambda: done)
    assert lake.publish.function(ti=_Queue(0)) == {"release_id": 1, "datasets": 5, "rows": 9}


class _Queue:
    """A task instance that sees `behind` other queued runs."""

    def __init__(self, behind: int):
        self.behind = behind

    def get_dr_count(self, dag_id: str, states: list[str]) -> int:
        assert (dag_id, states) == ("release", ["queued"])
        return self.behind
