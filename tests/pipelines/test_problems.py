"""Problems over a real lake: opened, worked on, verified by data, in any order; one per rule, dataset and department."""
from __future__ import annotations

import itertools
import json

import pytest
import sqlalchemy as sa

from pipelines import deadlines, ledger, ledger_tables, problems, steps
from pipelines.cli import main
from pipelines.lifecycle import FALSE_ALARM, IN_PROGRESS, MENDED, OPEN
from pipelines.settings import Project, WrongUse
from tests.support import HEADER, REPOSITORY, RESIDENCE, desk, resident_id, small_project, write_csv

DATASET, RULE, DEPARTMENT = "population.residence", "id_number.checksum", "公安局"
CONTRACT = RESIDENCE.replace("LOAD", "upsert").replace("[{property: at_least, value: 0.2}]}\n      - {name: name,", "[{property: at_least, value: 0.95}]}\n      - {name: name,")


def wrong(n: int) -> str:
    good = resident_id(n)
    return good[:17] + ("0" if good[17] != "0" else "1")


def rows(good: int, bad: int) -> list[tuple]:
    return [(resident_id(n), "赵一", "1990-01-01", "640104", "", "") for n in range(1, good + 1)] + [
        (wrong(n), "赵一", "1990-01-01", "640104", "", "") for n in range(500, 500 + bad)]


@pytest.fixture
def at(tmp_path):
    return desk(tmp_path, small_project(tmp_path / "project", population__residence=CONTRACT))


def send(at, tmp_path, day: str, good: int, bad: int, part: str = "640100", source: str = "police", **options) -> str:
    """One batch through stage, gate and commit; returns its id."""
    file = write_csv(tmp_path / f"sent/{source}{day}{good}-{bad}/{part}.csv", HEADER, rows(good, bad))
    key = steps.submit(DATASET, [file], source, day, desk=at, **options)[0].batch_id
    run(at)
    return key


def run(at) -> None:
    keys = steps.receive(DATASET, desk=at)
    passed = steps.judge(DATASET, steps.stage(DATASET, keys, at), at)
    if passed:
        steps.commit(DATASET, passed, at)


def of(at, rule: str = RULE, department: str = DEPARTMENT) -> dict | None:
    t = ledger_tables.problems
    found = at.ledger.rows(sa.select(t).where(t.c.rule == rule, t.c.department == department))
    assert len(found) < 2
    return found[0] if found else None


def states(at, rule: str = RULE) -> list[str]:
    e = ledger_tables.problem_events
    return [r["state"] for r in at.ledger.rows(sa.select(e).where(e.c.problem == of(at, rule)["id"]).order_by(e.c.id))]


def test_a_failing_rule_opens_one_problem_and_a_later_pass_verifies_it(at, tmp_path):
    send(at, tmp_path, "2026-11-01", 10, 0)
    assert of(at) is None
    first = send(at, tmp_path, "2026-11-02", 10, 10)
    found = of(at)
    assert (found["state"], found["opened_batch"], found["applicable"], found["failed"], found["severity"], found["at_least"]) == (OPEN, first, 20, 10, "reject", 0.95)
    assert found["due_on"] == deadlines.due(at.project, ledger.today()) > ledger.today()
    later = send(at, tmp_path, "2026-11-03", 10, 5)
    again = of(at)
    assert (again["id"], again["state"], again["batch_id"], again["failed"], again["opened_batch"], again["reopened"]) == (found["id"], OPEN, later, 5, first, 0)
    assert states(at) == ["open"], "a further failure is no event"
    send(at, tmp_path, "2026-11-04", 10, 0)
    assert (of(at)["state"], of(at)["changed_by"]) == ("verified", "lake")
    send(at, tmp_path, "2026-11-05", 10, 9)
    assert (of(at)["state"], of(at)["reopened"]) == (OPEN, 1)
    assert states(at) == ["open", "verified", "open"]


def test_held_batches_are_one_problem_until_they_are_corrected(at, tmp_path):
    send(at, tmp_path, "2026-11-01", 10, 10)
    send(at, tmp_path, "2026-11-02", 10, 10)
    assert (of(at, "batch.held")["state"], of(at, "batch.held")["failed"]) == (OPEN, 2)
    send(at, tmp_path, "2026-11-01", 20, 0, correct=True)
    assert (of(at, "batch.held")["state"], of(at)["state"]) == (OPEN, OPEN), "the second is still held"
    send(at, tmp_path, "2026-11-02", 21, 0, correct=True)
    assert (of(at, "batch.held")["state"], of(at)["state"]) == ("verified", "verified")
    send(at, tmp_path, "2026-11-03", 10, 10)
    assert (of(at, "batch.held")["state"], of(at, "batch.held")["reopened"]) == (OPEN, 1)


def test_a_refused_batch_is_a_problem_of_its_own(at, tmp_path):
    file = tmp_path / "sent/640100.csv"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"\x00\x01\x02" * 99)
    steps.submit(DATASET, [file], "police", "2026-11-01", desk=at)
    run(at)
    state = at.ledger.batch(f"{DATASET}~police~640100~2026-11-01~1")["state"]
    assert of(at, f"batch.{state}")["state"] == OPEN
    send(at, tmp_path, "2026-11-01", 9, 0, correct=True)
    assert of(at, f"batch.{state}")["state"] == "verified"


def enter(at, day: str, applicable: int, failed: int, part: str = "640100", source: str = "police", **more) -> str:
    """A judged batch as the ledger knows it, with one rule; nothing of it is on disk."""
    batch_id = f"{DATASET}~{source}~{part}~{day}~1"
    at.ledger.add_batch(batch_id=batch_id, revision=1, dataset=DATASET, source=source, part=part, batch_date=day, sequence=1)
    at.ledger.update_batch(batch_id, 1, state="accepted")
    result = {"rule": RULE, "zh": "校验码正确", "en": "right", "severity": "reject", "at_least": 0.95, "applicable": applicable, "failed": failed,
              "repaired": 0, "pass_rate": 1 - failed / applicable, "outcome": "fail" if failed else "pass"}
    at.ledger.replace_results({(batch_id, 1): ([result | more], [], [])})
    problems.note(at, DATASET, [{"rule": RULE, "outcome": "fail" if failed else "pass"}])
    return batch_id


def test_departments_have_problems_of_their_own(at):
    enter(at, "2026-11-01", 20, 10)
    enter(at, "2026-11-01", 20, 10, source="grid")
    enter(at, "2026-11-02", 20, 0)
    assert (of(at)["state"], of(at, department="网格中心")["state"]) == ("verified", OPEN)


def test_one_city_mending_its_rows_does_not_close_the_other_citys(at):
    for part in ("640100", "640200"):
        enter(at, "2026-11-01", 20, 10, part)
    assert (of(at)["applicable"], of(at)["failed"]) == (40, 20)
    enter(at, "2026-11-02", 20, 0, "640100")
    assert (of(at)["state"], of(at)["applicable"], of(at)["failed"]) == (OPEN, 20, 10)
    enter(at, "2026-11-02", 20, 0, "640200")
    assert of(at)["state"] == "verified"


@pytest.mark.parametrize("sent", [
    [("2026-11-01", 10, 5), ("2026-11-02", 9, 0), ("2026-11-03", 10, 6)],
    [("2026-11-01", 10, 5), ("2026-11-02", 9, 1), ("2026-11-03", 10, 0)],
    [("2026-11-01", 10, 5), ("2026-11-01", 9, 1, "640200"), ("2026-11-02", 10, 0), ("2026-11-03", 10, 0, "640200")]], ids=["again", "mended", "two cities"])
def test_every_order_of_arrival_ends_alike(tmp_path, sent):
    ends = set()
    for i, order in enumerate(itertools.permutations(sent)):
        here = tmp_path / str(i)
        at = desk(here, small_project(here / "project", population__residence=CONTRACT))
        for one in order:
            enter(at, *one)
        ends.add(tuple(of(at)[k] for k in ("state", "reopened", "opened_batch", "batch_id", "applicable", "failed", "pass_rate")))
    assert len(ends) == 1, ends


def test_officers_take_mend_and_reject_and_the_rule_takes_a_false_alarm_back(at, tmp_path):
    send(at, tmp_path, "2026-11-01", 10, 10)
    number = of(at)["id"]
    assert problems.act(at, number, IN_PROGRESS, "李科长", "已转派出所核对")["state"] == IN_PROGRESS
    assert problems.act(at, number, MENDED, "李科长", "已补录")["state"] == MENDED
    with pytest.raises(WrongUse, match="is mended"):
        problems.act(at, number, MENDED, "李科长", "再报")
    send(at, tmp_path, "2026-11-02", 10, 9)
    assert (of(at)["state"], of(at)["reopened"]) == (OPEN, 1)
    problems.act(at, number, FALSE_ALARM, "王质控", "校验位规则不适用")
    send(at, tmp_path, "2026-11-03", 10, 8)
    assert of(at)["state"] == FALSE_ALARM
    contract = at.project.contracts / "population/residence.yaml"
    contract.write_text(contract.read_text().replace("value: 0.95", "value: 0.96"))
    run(at)
    assert of(at)["state"] == OPEN, "the rule says something else now"
    assert states(at) == ["open", "in_progress", "mended", "open", "false_alarm", "open"]
    for who, why in (("", "x"), ("lake", "x"), ("李", " ")):
        with pytest.raises(WrongUse, match="--by NAME --note TEXT"):
            problems.act(at, number, MENDED, who, why)
    with pytest.raises(WrongUse, match="no problem 99"):
        problems.problem(at, 99)


def test_what_a_death_left_undone_the_next_look_does(at, tmp_path, monkeypatch):
    with monkeypatch.context() as dying:
        dying.setattr(problems, "_settle", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            send(at, tmp_path, "2026-11-01", 10, 10)
    assert of(at) is None
    assert {p["rule"] for p in problems.refresh(at)} >= {RULE, "batch.held"}
    assert (of(at)["state"], states(at)) == (OPEN, ["open"])
    assert problems.refresh(at) == [], "nothing is told twice"


def test_a_change_and_its_event_are_one_transaction(at, tmp_path, monkeypatch):
    send(at, tmp_path, "2026-11-01", 10, 10)
    with monkeypatch.context() as dying:
        dying.setattr(problems, "_event", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            problems.act(at, of(at)["id"], IN_PROGRESS, "李", "查")
    assert (of(at)["state"], states(at)) == (OPEN, ["open"])


def test_working_days_are_counted_with_the_calendar_where_there_is_one(tmp_path):
    assert deadlines.due(Project(REPOSITORY), "2026-11-20") == "2026-12-04", "ten working days after a Friday"
    made = small_project(tmp_path, population__residence=CONTRACT)
    calendar = made.reference / "working_days.csv"
    calendar.unlink(missing_ok=True)      # never through a link into the repository
    calendar.write_text("day,is_workday\n2026-11-21,1\n2026-11-23,0\n2026-11-24,0\n")
    assert deadlines.due(made, "2026-11-20") == "2026-12-07"


def test_the_command_line_lists_tells_and_changes(at, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LAKE_HOME", str(at.lake.home))
    monkeypatch.setenv("LAKE_PROJECT", str(at.project.root))
    send(at, tmp_path, "2026-11-01", 10, 10)
    assert main(["problems"]) == 0
    said = capsys.readouterr().out
    assert "待整改" in said and RULE in said and DEPARTMENT in said and resident_id(1) not in said
    number = str(of(at)["id"])
    assert main(["problem", number, "--take", "--by", "李科长", "--note", "核对中"]) == 0
    assert main(["problems", "--state", "整改中", "--department", DEPARTMENT, "--dataset", DATASET, "--json"]) == 0
    assert [p["id"] for p in json.loads(capsys.readouterr().out.splitlines()[-1])] == [int(number)]
    assert main(["problem", number]) == 0
    assert "核对中" in capsys.readouterr().out
    assert main(["problems", "--state", "gone"]) == 2 and "待整改" in capsys.readouterr().err


def test_only_datasets_where_there_may_be_a_problem_are_looked_at(at, tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(problems, "note", lambda _, dataset_id, results, day: looked.append((dataset_id, [r["rule"] for r in results])))
    passing, failing = ({"dataset": DATASET, "rule": "x", "outcome": outcome} for outcome in ("pass", "fail"))
    problems.note_checks(at, ["population.other", DATASET], [passing])
    assert looked == []
    problems.note_checks(at, ["population.other", DATASET], [passing, failing])
    assert looked == [(DATASET, ["x"])]
    monkeypatch.undo()
    send(at, tmp_path, "2026-11-01", 1, 19)
    assert of(at, problems.HELD)["state"] == OPEN
    with at.ledger.transaction() as con:
        con.execute(ledger_tables.problem_events.delete())
        con.execute(ledger_tables.problems.delete())
    problems.note_checks(at, [DATASET], [])
    assert of(at, problems.HELD)["state"] == OPEN, "a batch is held"
