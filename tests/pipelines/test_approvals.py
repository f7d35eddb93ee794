"""An officer releases a held batch, or confirms the hold; never what is closed, folded, unread or unjudged."""
from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from pipelines import approvals, gate, ledger_tables, steps
from pipelines.backfill import backfill
from pipelines.cli import main
from pipelines.closing import close
from pipelines.rebuild import rebuild
from pipelines.settings import WrongUse
from pipelines.status import status, why
from tests.pipelines.test_problems import CONTRACT, DATASET, RULE, of, run, send
from tests.support import HEADER, desk, resident_id, small_project, write_csv

WORDS = {"by": "王质控", "reason": "部门书面说明，先行入库"}


@pytest.fixture
def at(tmp_path, monkeypatch):
    made = desk(tmp_path, small_project(tmp_path / "project", population__residence=CONTRACT))
    monkeypatch.setenv("LAKE_HOME", str(made.lake.home))
    monkeypatch.setenv("LAKE_PROJECT", str(made.project.root))
    return made


def test_a_released_batch_is_committed_by_the_next_run_and_survives_a_rebuild(at, tmp_path, capsys):
    held = send(at, tmp_path, "2026-11-01", 10, 10)
    assert "python -m pipelines approve" in why(held, at)["remedy"]
    assert main(["approve", held, "--by", "王质控", "--reason", "部门书面说明"]) == 0
    assert f"python -m pipelines ingest {DATASET}" in capsys.readouterr().out
    row = at.ledger.batch(held)
    assert (row["state"], row["decided_by"], of(at, "batch.held")["state"], of(at)["state"]) == ("passed", "approval", "verified", "open")
    assert main(["approve", held, "--by", "王质控", "--reason", "部门书面说明"]) == 0, "a command that died after the decision is run again"
    assert len(at.ledger.rows(sa.select(ledger_tables.approvals))) == 1
    run(at)
    assert (at.ledger.batch(held)["state"], at.ledger.batch(held)["accepted"], at.ledger.batch(held)["quarantined"]) == ("accepted", 10, 10)
    assert why(held, at)["approvals"][0]["decided_by"] == "王质控"
    assert rebuild(DATASET, at) == {"batches": 1, "current_rows": 10}, "the release holds for the replay too"
    contract = at.project.contracts / "population/residence.yaml"
    contract.write_text(contract.read_text().replace("value: 0.95", "value: 0.96"))
    assert [b["outcome"] for b in backfill(DATASET, "2026-11-01", "2026-11-01", at)["batches"]] == ["replayed"]
    assert status(at)["problems"] == {"open": 1, "overdue": 0}


def test_a_confirmed_hold_stays_out_and_can_be_released_later(at, tmp_path):
    held = send(at, tmp_path, "2026-11-01", 10, 10)
    assert main(["approve", held, "--hold", "--by", "王质控", "--reason", "等更正"]) == 0
    run(at)
    assert (at.ledger.batch(held)["state"], of(at, "batch.held")["state"]) == ("held", "open")
    approvals.decide(at, held, approvals.RELEASE, **WORDS)
    page = (at.lake.reports / DATASET / f"{held}-r1.html").read_text(encoding="utf-8")
    assert page.index("等更正") < page.index(WORDS["reason"]) and "王质控" not in page, "the page tells the decisions and why, not who"
    run(at)
    assert at.ledger.batch(held)["state"] == "accepted"


def test_a_batch_judged_under_another_contract_is_decided_anew(at, tmp_path):
    held = send(at, tmp_path, "2026-11-01", 10, 10)
    approvals.decide(at, held, approvals.RELEASE, **WORDS)
    contract = at.project.contracts / "population/residence.yaml"
    contract.write_text(contract.read_text().replace("value: 0.95", "value: 0.97"))
    run(at)
    assert (at.ledger.batch(held)["state"], at.ledger.batch(held)["decided_by"]) == ("held", "gate")


def test_what_cannot_be_released_says_why(at, tmp_path, monkeypatch):
    held = send(at, tmp_path, "2026-11-01", 10, 10)
    send(at, tmp_path, "2026-11-02", 10, 0)
    for batch, words, says in (("population.residence~x~y~2026-11-01~1", WORDS, "knows no batch"), (f"{DATASET}~police~640100~2026-11-02~1", WORDS, "is accepted, not held"),
                               (held, WORDS | {"by": ""}, "--by NAME"), (held, WORDS | {"reason": " "}, "--reason TEXT")):
        with pytest.raises(WrongUse, match=says):
            approvals.decide(at, batch, approvals.RELEASE, **words)
    with pytest.raises(WrongUse, match="replaced by a correction"):
        approvals.decide(at, held, approvals.RELEASE, **WORDS, revision=2)
    close("2026-11", reason="月报", anyway=True, desk=at)
    with pytest.raises(WrongUse, match="month is closed.*reopen 2026-11"):
        approvals.decide(at, held, approvals.RELEASE, **WORDS)
    narrow = write_csv(tmp_path / "narrow/640100.csv", HEADER[1:], [("赵一", "1990-01-01", "640104", "", "")] * 3)
    unread = steps.submit(DATASET, [narrow], "police", "2026-12-01", desk=at)[0].batch_id
    run(at)
    with pytest.raises(WrongUse, match="header does not fit"):
        approvals.decide(at, unread, approvals.RELEASE, **WORDS)
    assert "header does not fit" in why(unread, at)["remedy"]
    at.ledger.update_batch(held, 1, batch_date="2026-10-01", decided_by="folding")
    with pytest.raises(WrongUse, match="rebuild"):
        approvals.decide(at, held, approvals.RELEASE, **WORDS)
    assert at.ledger.rows(sa.select(ledger_tables.approvals)) == []


def test_nobody_releases_what_the_gate_could_not_judge(at, tmp_path, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(gate.suite, "run", lambda *_: 1 / 0)
        held = send(at, tmp_path, "2026-11-01", 20, 0)
    assert (at.ledger.batch(held)["state"], at.ledger.batch(held)["code"]) == ("held", "unsound")
    with pytest.raises(WrongUse, match="could not be judged"):
        approvals.decide(at, held, approvals.RELEASE, **WORDS)
    assert "report it as a defect" in why(held, at)["remedy"]


def test_what_was_swept_from_staging_is_judged_again_first(at, tmp_path):
    held = send(at, tmp_path, "2026-11-01", 10, 10)
    (at.lake.staging / f"{held}~r1/counts.json").unlink()
    with pytest.raises(WrongUse, match="backfill"):
        approvals.decide(at, held, approvals.RELEASE, **WORDS)
    backfill(DATASET, "2026-11-01", "2026-11-01", at)
    assert approvals.decide(at, held, approvals.RELEASE, **WORDS)["state"] == "passed"


def test_the_question_holds_counts_and_rules_and_no_value(at, tmp_path):
    held = send(at, tmp_path, "2026-11-01", 10, 10)
    asked = approvals.question(at, held, 1)
    said = json.dumps(asked, ensure_ascii=False)
    assert RULE in said and "0.5000" in said and "公安局" in said and held in asked["subject"]
    assert resident_id(1) not in said and "赵一" not in said
    approvals.decide(at, held, approvals.RELEASE, **WORDS)
    assert approvals.question(at, held, 1) is None
