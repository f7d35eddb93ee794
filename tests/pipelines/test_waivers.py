"""Waivers: what is waived is kept and counted beside, for its stream, its keys and its time, and for nothing else."""
from __future__ import annotations

import json

import duckdb
import pytest
import sqlalchemy as sa

from pipelines import gate, ledger_tables, problems, region_counts, steps, waivers
from pipelines.backfill import backfill
from pipelines.cli import main
from pipelines.lifecycle import OPEN, WAIVED
from pipelines.settings import WrongUse
from tests.pipelines.test_problems import CONTRACT, DATASET, RULE, of, rows, run, send, wrong
from tests.support import HEADER, desk, resident_id, small_project, write_csv

DAY, UNTIL = "2026-11-05", "2026-11-30"
PAPERS = {"owner": "公安局", "document": "宁公发〔2026〕7号", "reason": "历史重号按规定保留", "by": "王质控"}


@pytest.fixture
def at(tmp_path, monkeypatch):
    for module in (problems, waivers):
        monkeypatch.setattr(module, "today", lambda: DAY)
    return desk(tmp_path, small_project(tmp_path / "project", population__residence=CONTRACT))


def result(at, batch_id: str, rule: str = RULE) -> dict:
    r = ledger_tables.rule_results
    return at.ledger.rows(sa.select(r).where(r.c.batch_id == batch_id, r.c.rule == rule))[0]


def current(at) -> set[str]:
    return {i for i, in duckdb.sql(f"SELECT id_number FROM '{steps.derive(at, at.plan(DATASET)).rows}'").fetchall()}


def test_a_waived_row_is_kept_counted_and_judged_for_all_else(at, tmp_path):
    held = send(at, tmp_path, "2026-11-01", 10, 10)
    assert at.ledger.batch(held)["state"] == "held"
    made = waivers.grant(at, DATASET, RULE, "公安局", until=UNTIL, **PAPERS)
    assert (made["source"], made["keys"], of(at)["state"]) == ("police", None, WAIVED)
    run(at)
    row, found = at.ledger.batch(held), result(at, held)
    assert (row["state"], row["accepted"], row["quarantined"], row["waivers_hash"] is not None) == ("accepted", 20, 0, True)
    assert (found["applicable"], found["failed"], found["waived"], found["outcome"]) == (10, 0, 10, "pass")
    assert current(at) == {resident_id(n) for n in range(1, 11)} | {wrong(n) for n in range(500, 510)}
    assert (of(at)["state"], of(at)["waived"], of(at, "batch.held")["state"]) == (WAIVED, 10, "verified")
    counted = [one for row in at.ledger.rows(sa.select(ledger_tables.region_counts)) for one in region_counts.unpack(row["counts"])]
    assert sum(one["waived"] for one in counted if one["rule"] == RULE) == 10
    late = send(at, tmp_path, "2026-12-01", 10, 10)
    assert (at.ledger.batch(late)["state"], result(at, late)["waived"], of(at)["state"]) == ("held", 0, OPEN), "dated after the waiver"
    other = send(at, tmp_path, "2026-11-02", 10, 10, source="grid")
    assert (at.ledger.batch(other)["state"], result(at, other)["waived"]) == ("held", 0), "another department"


def test_a_waiver_for_single_keys_keeps_these_alone(at, tmp_path):
    batch = send(at, tmp_path, "2026-11-01", 60, 2)
    assert (at.ledger.batch(batch)["quarantined"], at.ledger.batch(batch)["accepted"]) == (2, 60)
    keys = tmp_path / "keys.txt"
    spelled = wrong(500).translate(str.maketrans("0123456789", "０１２３４５６７８９"))
    keys.write_text(f"{spelled}\n{resident_id(77)}\n", encoding="utf-8")
    made = waivers.grant(at, DATASET, RULE, "police", until=UNTIL, keys=keys, **PAPERS)
    stored = at.ledger.rows(sa.select(ledger_tables.waiver_keys))
    assert made["keys"] == len(stored) == 2 and all(len(r["key"]) == 22 for r in stored)
    assert [b["outcome"] for b in backfill(DATASET, "2026-11-01", "2026-11-01", at)["batches"]] == ["replayed"]
    row, found = at.ledger.batch(batch), result(at, batch)
    assert (row["accepted"], row["quarantined"], found["applicable"], found["failed"], found["waived"]) == (61, 1, 61, 1, 1)
    assert wrong(500) in current(at) and wrong(501) not in current(at)
    assert [b["outcome"] for b in backfill(DATASET, "2026-11-01", "2026-11-01", at)["batches"]] == ["unchanged"]
    waivers.end(at, made["id"], "文件废止")
    assert [b["outcome"] for b in backfill(DATASET, "2026-11-01", "2026-11-01", at)["batches"]] == ["replayed"]
    assert (at.ledger.batch(batch)["waivers_hash"], at.ledger.batch(batch)["quarantined"]) == (None, 2)


def test_an_expired_waiver_closes_itself_and_opens_what_still_fails(at, tmp_path):
    batch = send(at, tmp_path, "2026-11-01", 10, 10)
    waivers.grant(at, DATASET, RULE, "police", until=UNTIL, part="640100", **PAPERS)
    run(at)
    assert waivers.expire(at, UNTIL) == [] and of(at)["state"] == WAIVED
    assert [w["id"] for w in waivers.expire(at, "2026-12-01")] == [1]
    assert (waivers.listing(at)[0]["ended_reason"], of(at)["state"], of(at)["note"]) == ("expired", OPEN, "its waiver has ended and it still fails")
    assert waivers.expire(at, "2026-12-02") == []
    assert waivers.Covers(at.ledger, DATASET).of(at.ledger.batch(batch)).ids == (1,), "batches of its time stay judged under it"
    assert [b["outcome"] for b in backfill(DATASET, "2026-11-01", "2026-11-01", at)["batches"]] == ["unchanged"]


def test_a_death_between_a_waivers_end_and_its_problem_is_mended_by_the_next_look(at, tmp_path, monkeypatch):
    send(at, tmp_path, "2026-11-01", 10, 10)
    waivers.grant(at, DATASET, RULE, "police", until=UNTIL, **PAPERS)
    with monkeypatch.context() as dying:
        dying.setattr(problems, "note", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            waivers.expire(at, "2026-12-01")
    problems.refresh(at, "2026-12-01")
    assert of(at)["state"] == OPEN


def test_a_key_that_does_not_exist_cannot_be_waived_into_base(at, tmp_path):
    """A required key that is empty has no record key: the row stays in quarantine, whatever is waived."""
    at.project.contracts.joinpath("population/residence.yaml").write_text(CONTRACT.replace("value: 0.95", "value: 0.2"))
    waivers.grant(at, DATASET, "id_number.required", "police", until=UNTIL, **PAPERS)
    file = write_csv(tmp_path / "e/640100.csv", HEADER, [("", "赵一", "1990-01-01", "640104", "", ""), (resident_id(1), "赵一", "1990-01-01", "640104", "", "")])
    steps.submit(DATASET, [file], "police", "2026-11-01", desk=at)
    run(at)
    row = at.ledger.batch(f"{DATASET}~police~640100~2026-11-01~1")
    assert (row["accepted"], row["quarantined"]) == (1, 1)


def test_the_gate_believes_no_count_of_waived_rows_that_the_masks_do_not_show(at, tmp_path):
    waivers.grant(at, DATASET, RULE, "police", until=UNTIL, **PAPERS)
    steps.submit(DATASET, [write_csv(tmp_path / "s/640100.csv", HEADER, rows(9, 3))], "police", "2026-11-01", desk=at)
    key, = steps.stage(DATASET, steps.receive(DATASET, desk=at), at)
    folder, context = at.lake.staging / key, at.ledger.batch(*steps.split_key(key))
    assert gate.judge(at.lake, folder, context).outcome == "accept"
    honest = (folder / "counts.json").read_text()
    lying = json.loads(honest)
    lying["rules"][RULE]["waived"] = 2
    (folder / "counts.json").write_text(json.dumps(lying))
    found = gate.judge(at.lake, folder, context)
    assert (found.outcome, found.sound) == ("hold", False) and "masks.parquet marks 3 rows as waived, counts.json counts 2" in found.reasons[0]
    (folder / "counts.json").write_text(honest)
    duckdb.execute(f"COPY (SELECT COLUMNS(c -> NOT starts_with(c, '_waived_')) FROM read_parquet('{folder}/masks.parquet')) TO '{folder}/n.parquet' (FORMAT parquet)")
    (folder / "n.parquet").replace(folder / "masks.parquet")
    assert "masks.parquet marks none" in gate.judge(at.lake, folder, context).reasons[0]


@pytest.mark.parametrize("change, says", [
    ({"owner": " "}, "--owner"), ({"document": ""}, "--document"), ({"until": "soon"}, "'soon' is no day"), ({"until": "2026-11-04"}, "has passed"),
    ({"rule": "id_number.nothing"}, "Its rules: .*id_number.checksum"), ({"rule": "key.conflict"}, "only one can be true"), ({"source": "nobody"}, "has no source")])
def test_wrong_words_are_told(at, change, says):
    given = {"rule": RULE, "source": "police", "until": UNTIL, **PAPERS} | change
    with pytest.raises(WrongUse, match=says):
        waivers.grant(at, DATASET, **given)
    assert waivers.listing(at) == []


def test_a_file_without_keys_grants_nothing_and_quotes_nothing(at, tmp_path):
    for text, says in (("", "0 of 0"), (f"{resident_id(1)}\n\n无\n", "of")):
        (tmp_path / "keys.txt").write_text(text, encoding="utf-8")
        with pytest.raises(WrongUse, match=says) as refused:
            waivers.grant(at, DATASET, RULE, "police", until=UNTIL, keys=tmp_path / "keys.txt", **PAPERS)
        assert resident_id(1) not in str(refused.value)
    assert waivers.listing(at) == []


def test_the_command_line_grants_lists_and_ends(at, monkeypatch, capsys):
    monkeypatch.setenv("LAKE_HOME", str(at.lake.home))
    monkeypatch.setenv("LAKE_PROJECT", str(at.project.root))
    words = [w for flag, value in {**PAPERS, "source": "police", "until": UNTIL}.items() for w in (f"--{flag}", value)]
    assert main(["waive", DATASET, RULE, *words]) == 0
    assert "python -m pipelines backfill" in capsys.readouterr().out
    assert main(["waivers"]) == 0 and "宁公发〔2026〕7号" in capsys.readouterr().out
    assert main(["waive", "--end", "1", "--reason", "撤销"]) == 0
    assert main(["waive", "--end", "1", "--reason", "撤销"]) == 2 and "no waiver 1 in force" in capsys.readouterr().err
    assert main(["waive"]) == 2
