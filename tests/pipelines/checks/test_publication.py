"""Decisions against the working days they may take to be sent; the day each took is counted apart from the product's SQL."""
from __future__ import annotations

from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from pipelines import checks, folding, ledger_tables as tables
from pipelines.check import check
from pipelines.contract import datasets
from pipelines.rules import RuleError, published
from pipelines.settings import Project
from tests.pipelines.checks.conftest import DATASET, person, send
from tests.support import REPOSITORY, RESIDENCE

CONTRACT = RESIDENCE.replace("State, semanticType: text", "State, semanticType: date")      # 状态 is the date of the decision
DECLARED = "- published: {after: status, deadline: SGS-UPLOAD, reason: 七个工作日}\n"
STOCK, SECOND, THIRD = "2026-03-02", "2026-03-16", "2026-03-20"
DAYS_OFF = {"2026-03-09": False, "2026-03-14": True}


def worked(decided: str, sent: str, days_off: dict[str, bool] | None = None) -> int:
    day, found = date.fromisoformat(decided), 0
    while day < date.fromisoformat(sent):
        day += timedelta(days=1)
        found += (days_off or {}).get(day.isoformat(), day.weekday() < 5)
    return found


def results(at) -> dict[str, tuple[int, int]]:
    checks.run(at, [DATASET], "2026-04-01")
    c = tables.checks
    rows = at.ledger.rows(sa.select(c).where(c.c.kind == "publication"))
    assert all((r["rule"], r["indicator"], r["source"], r["at_least"]) == ("published_in_time", "0502", "police", 0.98) for r in rows)
    return {r["as_of"]: (r["applicable"], r["failed"]) for r in rows}


@pytest.fixture
def at(lake, tmp_path):
    made = lake("upsert", DECLARED, contract=CONTRACT)
    send(made, tmp_path, STOCK, [person(n, "2026-01-05") for n in (1, 2, 3)])
    send(made, tmp_path, SECOND, [person(4, "2026-03-05"), person(5, "2026-03-04"), person(6, SECOND), person(1, "2026-01-05"), person(9, "")])
    send(made, tmp_path, THIRD, [person(5, "2026-03-04", name="赵二"), person(8, "2026-03-03")])
    return made


def test_each_record_counts_once_when_it_was_first_sent_and_stock_not_at_all(at, tmp_path):
    assert [worked(d, SECOND) for d in ("2026-03-05", "2026-03-04")] == [7, 8] and worked("2026-03-03", THIRD) == 13
    assert results(at) == {SECOND: (3, 1), THIRD: (1, 1)} == results(at)
    send(at, tmp_path, "2026-03-09", [person(5, "2026-03-04")])
    assert results(at) == {SECOND: (2, 0), "2026-03-09": (1, 0), THIRD: (1, 1)}, "a batch that comes late shows that the record was sent earlier"


@pytest.mark.parametrize(("known", "late"), [(["2026-03-09"], 0), (["2026-03-09", "2026-03-14"], 1)])
def test_days_off_are_those_of_the_yearly_notice(at, known, late):
    calendar = at.project.reference / "working_days.csv"
    calendar.unlink(missing_ok=True)      # never through a link into the repository
    lines = [f"{day},{DAYS_OFF[day]:d}" for day in known]
    calendar.write_text("\n".join(["day,is_workday", *lines]) + "\n", encoding="utf-8")
    assert (worked("2026-03-04", SECOND, {d: DAYS_OFF[d] for d in known}) > 7) == bool(late)
    assert results(at)[SECOND] == (3, late)


def test_nothing_is_measured_where_nothing_is_declared(lake, tmp_path):
    made = lake("upsert", contract=CONTRACT)
    send(made, tmp_path, STOCK, [person(1, "2026-01-05")])
    send(made, tmp_path, SECOND, [person(2, "2026-01-05")])
    assert results(made) == {}


@pytest.mark.parametrize(("text", "says"), [
    ("{after: name, deadline: SGS-UPLOAD, reason: 甲}", "after"), ("{after: status, reason: 甲}", "deadline"), ("{after: status, deadline: SGS-UPLOAD}", "reason"),
    ("{after: status, deadline: SGS-UPLOAD, reason: 甲, within: 7}", "within")])
def test_a_wrong_declaration_is_refused(lake, text, says):
    made = lake("upsert", f"- published: {text}\n", contract=CONTRACT)
    [found] = datasets(made.project)
    with pytest.raises(RuleError, match=says):
        published(found, made.project)


def test_an_unknown_deadline_is_told_by_check(lake):
    made = lake("upsert", DECLARED.replace("SGS-UPLOAD", "RES-PERMIT"), contract=CONTRACT)
    assert any("RES-PERMIT" in e and "SGS-UPLOAD" in e for e in check(made.project)["errors"])


def test_both_kinds_of_double_publicity_declare_it():
    project = Project(REPOSITORY)
    assert {d.id: published(d, project)["after"] for d in datasets(project) if published(d, project)} == {
        "credit.administrative_licence": "decision_date", "credit.administrative_penalty": "decision_date"}


def test_of_folded_records_nobody_knows_when_they_were_first_sent(at):
    results(at)
    folding.fold(at.lake, at.plan(DATASET), "2026-03-18")
    assert results(at) == {THIRD: (1, 1)}, "record 5 was sent before, too"
