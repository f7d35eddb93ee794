"""New code values: what is counted of a batch and what never is, how a contract holds it, and where it is shown.

Planted in a column with a code list: one code in four spellings and rows, a code in one row only, a name, a name in letters, a birthday,
a text that is no code, empty cells. Only the first is a new value.
"""
from __future__ import annotations

import json
from collections import Counter

import pytest
import sqlalchemy as sa

from pipelines import accepting, gate, ledger_tables as tables, new_values, pages, site, staged_batches, steps, waivers
from pipelines.cli import main
from pipelines.contract import ContractError, datasets
from tests.support import HEADER, RESIDENCE, desk, resident_id, small_project, write_csv

DATASET, BATCH = "population.residence", "population.residence~police~640100~2026-01-01~1"
STATUS = "businessName: 状态, description: State, semanticType: text, classification: internal}"
GIVEN = {"label": "暂停（试点）", "document": "人社发〔2026〕1号", "by": "质量科"}
PLANTED = ["8X", "8X", "８Ｘ", " 8x", "9Z", "张三丰", "张三丰", "ZHANGSAN", "ZHANGSAN", "19900101", "19900101", "A-1", "A-1", "", "1", "2"]


def contract(new_values: str = "hold", classification: str = "internal", kind: str = "code(insurance_status)") -> str:
    custom = f", customProperties: [{{property: new_values, value: {new_values}}}]" if new_values else ""
    return RESIDENCE.replace("LOAD", "upsert").replace(STATUS, f"businessName: 状态, description: State, semanticType: {kind}, classification: {classification}{custom}}}")


def lake(folder, **declared):
    return desk(folder, small_project(folder / "project", population__residence=contract(**declared)))


def send(at, folder, values: list[str], day: str = "2026-01-01") -> list[str]:
    rows = [(resident_id(n + 1), "赵一", "1990-01-01", "640104", value, "") for n, value in enumerate(values)]
    steps.submit(DATASET, [write_csv(folder / f"{day}.csv", HEADER, rows)], "police", day, desk=at, part="640100")
    return ingest(at)


def ingest(at) -> list[str]:
    accepted = steps.judge(DATASET, steps.stage(DATASET, steps.receive(DATASET, desk=at), at), at)
    steps.commit(DATASET, accepted, at)
    return accepted


def entered(at) -> list[tuple]:
    n = tables.new_values
    return [tuple(r.values()) for r in at.ledger.rows(sa.select(n.c.batch_id, n.c.revision, n.c.column, n.c.value, n.c.rows).order_by(n.c.value))]


def test_a_held_batch_names_the_new_code_and_passes_once_it_is_accepted(tmp_path, monkeypatch, capsys):
    at = lake(tmp_path)
    assert send(at, tmp_path, PLANTED) == []
    rows = Counter(v.strip().upper().translate({0xFF18: "8", 0xFF38: "X"}) for v in PLANTED)["8X"]
    assert entered(at) == [(BATCH, 1, "status", "8X", rows)] and rows == 4
    reason = at.ledger.batch(BATCH)["reason"]
    assert all(said in reason for said in ("status", "8X (4 rows)", f"accept-value {DATASET} status 8X", f"ingest {DATASET}"))
    staged = staged_batches.read(at.lake, BATCH, 1)
    assert staged.counts["new_values"] == [{"column": "status", "value": "8X", "rows": 4}]
    kept = "".join(p.read_text("utf-8") for p in staged.folder.glob("*.json")) + json.dumps(entered(at)) + reason
    assert not any(text in kept for text in ("张三丰", "ZHANGSAN", "19900101", "9Z", "A-1"))
    monkeypatch.setenv("LAKE_HOME", str(at.lake.home))
    monkeypatch.setenv("LAKE_PROJECT", str(at.project.root))
    assert main(["new-values", DATASET, "--json"]) == 0
    [one] = json.loads(capsys.readouterr().out)
    assert (one["column"], one["value"], one["rows"], one["batches"], one["held"], one["list"]) == ("status", "8X", 4, 1, 1, "insurance_status")
    assert new_values.waiting(at, "insurance_status", "8X") == {DATASET: ["2026-01-01"]} and new_values.waiting(at, "sex", "8X") == {}
    accepting.accept(DATASET, "status", "8X", desk=at, **GIVEN)
    assert ingest(at) == [f"{BATCH}~r1"] and entered(at) == [], "judged again: what was listed is replaced"
    assert new_values.listing(at) == [] and main(["new-values"]) == 0 and "no new value" in capsys.readouterr().out


def test_by_default_a_batch_is_accepted_and_its_new_codes_are_shown_until_accepted(tmp_path):
    at = lake(tmp_path, new_values="")
    assert send(at, tmp_path, PLANTED) and send(at, tmp_path, PLANTED[:3], "2026-02-01")
    [one] = new_values.listing(at, DATASET)
    assert (one["rows"], one["batches"], one["held"], one["first"], one["last"]) == (7, 2, 0, "2026-01-01", "2026-02-01")
    steps.release(at)
    import duckdb

    with duckdb.connect(str(at.lake.database), read_only=True) as con:
        assert con.execute('SELECT "column", value, rows FROM governance.new_values ORDER BY rows').fetchall() == [("status", "8X", 3), ("status", "8X", 4)]
    shown = [at.lake.reports / "datasets" / f"{DATASET}.html", at.lake.reports / DATASET / f"{BATCH}-r1.html"]
    assert all(one["command"] in p.read_text("utf-8") and "ZHANGSAN" not in p.read_text("utf-8") for p in shown)
    accepting.accept(DATASET, "status", "8X", desk=at, **GIVEN)
    pages.write_all(at)
    site.build(at)
    assert new_values.listing(at) == [] and not any('id="new-values"' in p.read_text("utf-8") for p in shown)


def test_a_batch_without_a_failing_code_is_not_looked_at(tmp_path):
    at = lake(tmp_path)
    assert new_values.count(None, []) == {}
    assert send(at, tmp_path, ["1", "2"]) and entered(at) == []


def test_so_many_different_codes_are_another_column_and_are_not_named(tmp_path):
    at = lake(tmp_path)
    assert send(at, tmp_path, [f"Q{n % 21}" for n in range(42)] + ["1"] * 100) == [] and entered(at) == []
    assert "42 rows of status hold so many" in at.ledger.batch(BATCH)["reason"] and "Q1" not in at.ledger.batch(BATCH)["reason"]
    few = lake(tmp_path / "few")
    assert send(few, tmp_path / "few", [f"Q{n % 20}" for n in range(40)]) == [] and len(entered(few)) == 20


def test_codes_of_a_sensitive_column_are_never_listed(tmp_path):
    at = lake(tmp_path, new_values="", classification="sensitive")
    assert send(at, tmp_path, PLANTED) and entered(at) == []
    assert all(not r.new_values for r in at.plan(DATASET).rules)


def test_waived_rows_are_no_new_values(tmp_path):
    at = lake(tmp_path)
    waivers.grant(at, DATASET, "status.code", "police", "公安局", "文1", "试点", "2999-12-31", "王质控")
    assert send(at, tmp_path, PLANTED) == [f"{BATCH}~r1"] and entered(at) == []


@pytest.mark.parametrize("listed", [
    [{"column": "status", "value": "张三丰", "rows": 2}], [{"column": "name", "value": "8X", "rows": 2}], [{"column": "status", "value": "8X", "rows": -1}],
    [{"column": "status", "value": "8X", "rows": 99}], {"status": "8X"}, ["8X"]])
def test_the_gate_fails_closed_on_a_list_it_cannot_explain(tmp_path, listed):
    at = lake(tmp_path)
    send(at, tmp_path, PLANTED)
    folder = staged_batches.read(at.lake, BATCH, 1).folder
    counts = json.loads((folder / "counts.json").read_text())
    (folder / "counts.json").write_text(json.dumps(counts | {"new_values": listed}))
    verdict = gate.judge(at.lake, folder, at.ledger.batch(BATCH))
    assert (verdict.outcome, verdict.sound) == ("hold", False) and "张三丰" not in "".join(verdict.reasons)


@pytest.mark.parametrize(("declared", "says"), [
    ({"new_values": "stop"}, "must be one of"), ({"kind": "text"}, "code"), ({"kind": "region_code"}, "code"), ({"classification": "sensitive"}, "sensitive")])
def test_the_key_is_refused_where_it_means_nothing(tmp_path, declared, says):
    with pytest.raises(ContractError, match=says):
        datasets(small_project(tmp_path / "project", population__residence=contract(**declared)))
