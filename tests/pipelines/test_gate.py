"""The gate fails closed: each way in which a batch can slip through unjudged is a test here.

Fixture: a staged batch written by DuckDB from a description: per rule how many rows apply, fail, are repaired.
Rows 0..failed-1 fail; rows 0..applicable-1 apply.
"""
from __future__ import annotations

import dataclasses
import json
import logging
import re
import socket
from pathlib import Path

import duckdb
import pytest

from pipelines import gate
from pipelines.gate import docs, staged, suite, verdict
from pipelines.settings import Lake

BATCH = "population.person~public_security~640100~2026-11-01~1"
CONTEXT = {"dataset": "population.person", "source": "public_security", "batch_id": BATCH, "revision": 1}
SECRET = "640101199001011234"


def rule(name="id_number.checksum", applicable=None, failed=0, repaired=0, **changes):
    """A planned rule with the counts its rows shall have."""
    planned = {"rule": name, "column": name.partition(".")[0], "reason": "checksum", "zh": "公民身份号码校验码正确",
               "en": "the check digit is right", "severity": "reject", "at_least": 0.99, "on_breach": "hold",
               "indicator": "0302", "owner": "公安厅"} | changes
    return planned, {"applicable": applicable, "failed": failed, "repaired": repaired}


def stage(folder: Path, rules, records=100, **counts):
    """Write a staged batch of `records` rows; `counts` overrides counts.json."""
    folder.mkdir(parents=True)
    planned, numbers = [], {}
    for i, (one, count) in enumerate(rules):
        planned.append(one | {"mask": i // 62, "bit": i % 62})
        numbers[one["rule"]] = count | {"applicable": records if count["applicable"] is None else count["applicable"]}
    masks = {}
    for one in planned:
        for kind, key in (("failed", "failed"), ("applied", "applicable"), ("repaired", "repaired")):
            term = f"CASE WHEN i < {numbers[one['rule']][key]} THEN {1 << one['bit']} ELSE 0 END"
            masks.setdefault(f"_{kind}_{one['mask']}", []).append(f"({term})::BIGINT")
    columns = ", ".join(f"({' | '.join(terms)})::BIGINT AS {name}" for name, terms in masks.items())
    duckdb.execute(f"COPY (SELECT '640100' AS region, {columns or '0 AS none'} FROM range({records}) t(i)) "
                   f"TO '{folder}/masks.parquet' (FORMAT parquet)")
    (folder / "plan.json").write_text(json.dumps({"dataset": "population.person", "rules": planned}))
    stated = {"lines": records + 1, "header": 1, "trailer": 0, "blank": 0, "inner_line_ends": 0, "unparseable": 0,
              "records": records, "accepted": records, "copies": 0, "superseded": 0, "quarantined": 0, "deletes": 0,
              "loss_budget": 0.05, "rules": numbers} | counts
    (folder / "counts.json").write_text(json.dumps(stated))
    return folder


def change(folder: Path, file: str, edit):
    """Rewrite one JSON file of a staged batch."""
    content = json.loads((folder / file).read_text())
    edit(content)
    (folder / file).write_text(json.dumps(content))


def remask(folder: Path, replace: str):
    """Rewrite masks.parquet with `SELECT * REPLACE (…)` or any select list."""
    duckdb.execute(f"COPY (SELECT {replace} FROM read_parquet('{folder}/masks.parquet')) "
                   f"TO '{folder}/new.parquet' (FORMAT parquet)")
    (folder / "new.parquet").replace(folder / "masks.parquet")


@pytest.fixture
def lake(tmp_path):
    return Lake.open(tmp_path / "lake")


@pytest.fixture
def judge(lake, tmp_path):
    """Judge a staged batch; the folder's name is given by a counter."""
    made = iter(range(100))

    def run(rules=None, folder=None, **staged_as):
        folder = folder or stage(tmp_path / f"staged{next(made)}", [rule()] if rules is None else rules, **staged_as)
        return gate.judge(lake, folder, CONTEXT)
    return run


def held(found, *words):
    """The batch is held for exactly one reason, which has all `words`, names the batch and quotes nothing."""
    assert found.outcome == "hold"
    assert len(found.reasons) == 1, found.reasons
    for word in ("population.person batch public_security~640100~2026-11-01~1 r1: ", "Batch held. ", *words):
        assert word in found.reasons[0]


# --- what is judged -----------------------------------------------------------------------------------------------

def test_a_good_batch_is_accepted_with_its_counts(judge):
    found = judge([rule(applicable=90, failed=0, repaired=3), rule("name.required", severity="block", at_least=1.0)])
    assert (found.outcome, found.reasons) == ("accept", [])
    first = found.results[0]
    assert (first.applicable, first.failed, first.repaired, first.pass_rate, first.outcome) == (90, 0, 3, 1.0, "pass")


@pytest.mark.parametrize("severity,at_least,failed,outcome", [
    ("block", 1.0, 0, "accept"), ("block", 1.0, 1, "hold"),
    ("reject", 0.99, 2, "accept"), ("reject", 0.99, 3, "hold"),
    ("reject", 0.985, 3, "accept"), ("reject", 0.985, 4, "hold"),
    ("block", 0.0, 200, "accept")])
def test_thresholds_are_exact_at_the_boundary(judge, severity, at_least, failed, outcome):
    found = judge([rule(failed=failed, severity=severity, at_least=at_least), rule("other.form")], records=200)
    assert found.outcome == outcome


def test_a_share_of_the_applicable_rows_counts_not_of_all(judge):
    held(judge([rule(applicable=20, failed=1), rule("name.required")], records=10_000),
         "1 of 20 rows (5.0 %) fail id_number.checksum (公民身份号码校验码正确), at least 99 % must hold", "reports/population.person/", "why '")


def test_a_warning_never_holds_but_fails(judge):
    found = judge([rule(failed=90, severity="warn", on_breach="report")])
    assert (found.outcome, found.results[0].outcome) == ("accept", "fail")


def test_on_breach_overrides_the_severity(judge):
    assert judge([rule(failed=90, on_breach="report")]).outcome == "accept"
    held(judge([rule(failed=90, severity="warn", on_breach="hold")]), "90 of 100 rows (90.0 %)")


def test_a_rule_without_applicable_rows_is_not_measured(judge):
    found = judge([rule(applicable=0), rule("name.required")])
    assert (found.outcome, found.results[0].outcome, found.results[0].pass_rate) == ("accept", "not_measured", None)


def test_a_batch_in_which_no_rule_applies_is_held(judge):
    held(judge([rule(applicable=0), rule("name.required", applicable=0)]), "no rule applied to any row")


@pytest.mark.parametrize("quarantined,unparseable,outcome", [(10, 0, "accept"), (11, 0, "hold"), (5, 5, "accept"), (5, 6, "hold")])
def test_the_loss_budget_counts_unparseable_rows(judge, quarantined, unparseable, outcome):
    found = judge(records=200 - unparseable, accepted=200 - unparseable - quarantined, quarantined=quarantined,
                  unparseable=unparseable, lines=201)
    assert found.outcome == outcome
    if outcome == "hold":
        held(found, "11 of 200 rows (5.5 %) are lost", "loss budget 5 %")


def test_130_rules_over_three_mask_columns_are_each_counted(judge):
    rules = [rule(f"c{i}.valid", applicable=100 - i % 7, failed=i % 5, severity="warn", on_breach="report") for i in range(130)]
    found = judge(rules)
    assert [(r.rule, r.applicable, r.failed) for r in found.results] == [
        (f"c{i}.valid", 100 - i % 7, i % 5) for i in range(130)]
    assert found.outcome == "accept"


def test_all_rules_are_counted_by_one_query(judge):
    import sqlalchemy as sa

    seen = []
    listen = (sa.engine.Engine, "before_cursor_execute", lambda c, cur, statement, *_: seen.append(statement))
    sa.event.listen(*listen)
    try:
        judge([rule(f"c{i}.valid") for i in range(70)])
    finally:
        sa.event.remove(*listen)
    about = [s for s in seen if "c69.valid" in s]
    assert len(about) == 1 and "c0.valid" in about[0]


# --- fail closed: the evidence ------------------------------------------------------------------------------------

def test_zero_rules_hold(judge):
    held(judge([]), "the plan holds no rule")


def test_zero_rows_hold(judge):
    held(judge(records=0), "the batch holds no record")


@pytest.mark.parametrize("file", ["plan.json", "counts.json", "masks.parquet"])
def test_unfinished_staging_holds(judge, tmp_path, file):
    folder = stage(tmp_path / "s", [rule()])
    (folder / file).unlink()
    held(judge(folder=folder), f"{file} is missing")


def test_a_torn_file_holds(judge, tmp_path):
    folder = stage(tmp_path / "s", [rule()])
    (folder / "counts.json").write_text((folder / "counts.json").read_text()[:40])
    held(judge(folder=folder), "counts.json is not valid JSON")
    folder = stage(tmp_path / "t", [rule()])
    (folder / "masks.parquet").write_bytes((folder / "masks.parquet").read_bytes()[:50])
    held(judge(folder=folder), "the gate did not finish")


@pytest.mark.parametrize("column", ["_failed_0", "_applied_0", "_repaired_0"])
def test_one_null_mask_holds(judge, tmp_path, column):
    folder = stage(tmp_path / "s", [rule()])
    remask(folder, f"region, * EXCLUDE (region) REPLACE (CASE WHEN row_number() OVER () > 1 THEN {column} END AS {column})")
    held(judge(folder=folder), "1 of 100 rows have a NULL in mask 0")


def test_a_mask_column_of_another_type_or_none_holds(judge, tmp_path):
    folder = stage(tmp_path / "s", [rule()])
    remask(folder, "* REPLACE (_failed_0::DOUBLE AS _failed_0)")
    held(judge(folder=folder), "no BIGINT column _failed_0")
    remask(folder, "* EXCLUDE (_failed_0)")
    held(judge(folder=folder), "no BIGINT column _failed_0")


def test_a_rule_dropped_from_the_plan_holds(judge, tmp_path):
    folder = stage(tmp_path / "s", [rule(), rule("name.required")])
    change(folder, "plan.json", lambda plan: plan["rules"].pop())
    found = judge(folder=folder)
    assert found.outcome == "hold"
    assert "counts rules that the plan dropped: name.required" in found.reasons[0]
    assert "1 bit(s) of rules that are not in the plan" in found.reasons[1]


def test_a_rule_without_counts_holds(judge, tmp_path):
    folder = stage(tmp_path / "s", [rule(), rule("name.required")])
    change(folder, "counts.json", lambda counts: counts["rules"].pop("name.required"))
    held(judge(folder=folder), "counts.json lacks planned rules: name.required")


def test_rows_missing_from_the_masks_hold(judge, tmp_path):
    folder = stage(tmp_path / "s", [rule()])
    duckdb.execute(f"COPY (FROM read_parquet('{folder}/masks.parquet') LIMIT 99) TO '{folder}/n.parquet' (FORMAT parquet)")
    (folder / "n.parquet").replace(folder / "masks.parquet")
    held(judge(folder=folder), "masks.parquet holds 99 rows, counts.json 100 records")


def test_a_failure_of_a_rule_that_does_not_apply_holds(judge):
    held(judge([rule(applicable=4, failed=5), rule("name.required")]), "1 of 100 rows fail a rule of mask 0 that does not apply")


@pytest.mark.parametrize("counts,words", [
    ({"accepted": 99}, "100 records are not the 99"), ({"lines": 99}, "99 lines are not the 101"),
    ({"copies": -1, "accepted": 101}, "no usable copies"), ({"loss_budget": float("nan")}, "no loss budget"),
    ({"loss_budget": None}, "no loss budget"), ({"quarantined": None}, "no usable quarantined")])
def test_counts_that_do_not_add_up_hold(judge, counts, words):
    held(judge(**counts), words)


def test_counts_without_rules_hold(judge, tmp_path):
    folder = stage(tmp_path / "s", [rule()])
    change(folder, "counts.json", lambda counts: counts.update(rules=None))
    held(judge(folder=folder), "no counts by rule")


@pytest.mark.parametrize("changes,words", [
    ({"severity": "minor"}, "a severity or on_breach"), ({"on_breach": "ignore"}, "a severity or on_breach"),
    ({"at_least": 1.5}, "out of range"), ({"at_least": float("nan")}, "out of range"), ({"at_least": None}, "no usable at_least"),
    ({"rule": 'x" FROM y; --'}, "an id that is no rule id"), ({"zh": None}, "no usable zh")])
def test_a_plan_the_gate_does_not_understand_holds(judge, tmp_path, changes, words):
    folder = stage(tmp_path / "s", [rule()])
    change(folder, "plan.json", lambda plan: plan["rules"][0].update(changes))
    held(judge(folder=folder), words)


def test_two_rules_on_one_bit_hold(judge, tmp_path):
    folder = stage(tmp_path / "s", [rule(), rule("name.required")])
    change(folder, "plan.json", lambda plan: plan["rules"][1].update(bit=0))
    found = judge(folder=folder)
    assert found.outcome == "hold" and "share one mask bit" in found.reasons[0]


# --- fail closed: Great Expectations ------------------------------------------------------------------------------

def test_a_rule_dropped_from_the_suite_holds(judge, monkeypatch):
    whole = suite.expectations
    monkeypatch.setattr(suite, "expectations", lambda rules: whole(rules)[1:])
    held(judge([rule(), rule("name.required")]), "the suite judged 1 rules, the plan holds 2; differing: id_number.checksum")


def test_an_empty_suite_holds(judge, monkeypatch):
    monkeypatch.setattr(suite, "expectations", lambda rules: [])
    held(judge(), "the suite judged 0 rules, the plan holds 1")


def test_a_rule_judged_on_another_column_holds(judge, monkeypatch):
    whole = staged.view

    def swapped(evidence):
        first, second = evidence.rules
        return whole(dataclasses.replace(evidence, rules=[first | {"rule": second["rule"]}, second | {"rule": first["rule"]}]))
    monkeypatch.setattr(staged, "view", swapped)
    found = judge([rule(failed=1), rule("name.required")])
    assert found.outcome == "hold" and not found.sound
    assert "id_number.checksum: Great Expectations counts 0 of 100 failing, staging 1 of 100" in found.reasons[0]


def test_a_rule_the_view_lacks_holds(judge, monkeypatch):
    whole = staged.view
    monkeypatch.setattr(staged, "view", lambda evidence: whole(dataclasses.replace(evidence, rules=evidence.rules[:1])))
    held(judge([rule(), rule("name.required")]), "Great Expectations could not evaluate name.required: an exception was raised")


def test_an_exception_inside_great_expectations_holds(judge, monkeypatch):
    whole = staged.view
    monkeypatch.setattr(staged, "view", lambda e: whole(e).replace('AS "name.required"', 'AS "renamed"'))
    found = judge([rule(), rule("name.required")])
    assert found.outcome == "hold"
    assert any("could not evaluate name.required: an exception was raised" in r for r in found.reasons)


def test_a_crash_of_the_run_holds_and_its_text_is_withheld(judge, monkeypatch):
    def crash(*_):
        raise RuntimeError(f"value {SECRET} is odd")
    monkeypatch.setattr(suite, "run", crash)
    found = judge()
    held(found, "the gate did not finish: RuntimeError")
    assert SECRET not in found.reasons[0]


def test_counts_other_than_stagings_hold(judge, tmp_path):
    folder = stage(tmp_path / "s", [rule(failed=1)])
    change(folder, "counts.json", lambda counts: counts["rules"]["id_number.checksum"].update(failed=0))
    held(judge(folder=folder), "Great Expectations counts 1 of 100 failing, staging 0 of 100")


def test_the_gate_and_great_expectations_must_agree(judge, monkeypatch):
    whole = verdict.result
    monkeypatch.setattr(verdict, "result", lambda r, c: whole(r | {"at_least": 0.0}, c))
    held(judge([rule(failed=50)]), "Great Expectations says fail, the gate pass")


# --- evidence for people ------------------------------------------------------------------------------------------

def files(lake, suffix):
    return sorted(p for p in (lake.reports / "gx").rglob(f"*{suffix}") if "plugins" not in p.parts)


def test_pages_and_results_hold_no_value_and_refer_to_no_host(judge, lake, tmp_path):
    folder = stage(tmp_path / "s", [rule(failed=1), rule("name.required", applicable=0)])
    remask(folder, f"* REPLACE ('{SECRET}' AS region)")
    assert judge(folder=folder).outcome == "accept"
    pages, results = files(lake, ".html"), files(lake, ".json")
    assert len(pages) == 3 and len(results) == 4      # suite, checkpoint, definition, result
    for file in pages + results:
        content = file.read_text(encoding="utf-8")
        assert SECRET not in content
        assert not re.search(r"""(?:src|href|url|@import)\s*[=(]?\s*["']?\s*(?:https?:)?//""", content)
        assert "http" not in content.replace("http-equiv", "")
    assert "partial_unexpected" not in results[-1].read_text()
    page = next(p for p in pages if p.parts[-5] == "validations" or "validations" in p.parts).read_text(encoding="utf-8")
    for word in ("公民身份号码校验码正确", "the check digit is right", "at least 99 % of applicable rows", "公安厅", "0302",
                 "99 % 成立", "1 / 100 行不成立", "未测量"):
        assert word in page


def test_links_between_pages_lead_somewhere(judge, lake):
    judge()
    for page in files(lake, ".html"):
        for link in re.findall(r'href="([^"#]+)"', page.read_text(encoding="utf-8")):
            assert (page.parent / link).resolve().is_file(), f"{page.name} → {link}"


def test_rule_texts_cannot_inject_markup(judge, lake):
    judge([rule(zh="<script>alert(1)</script>", en="a $owner ${x} <b>", owner="<img src=x>")])
    for page in files(lake, ".html"):
        content = page.read_text(encoding="utf-8")
        assert "<script" not in content and "<img" not in content


def test_history_is_bounded(judge, lake, monkeypatch):
    monkeypatch.setattr(docs, "KEEP", 2)
    for _ in range(4):
        judge()
    assert len([p for p in files(lake, ".json") if "validations" in p.parts]) == 2
    assert len([p for p in files(lake, ".html") if "validations" in p.parts]) == 2


def test_torn_evidence_of_a_killed_run_is_overcome(judge, lake):
    judge()
    for file in files(lake, ".json"):
        file.write_text("{")
    assert judge().outcome == "accept"
    newest = max((p for p in files(lake, ".html") if "validations" in p.parts), key=lambda p: p.stat().st_mtime)
    assert newest.parent.name in (lake.reports / "gx" / "population.person" / "docs" / "index.html").read_text()


def test_pages_that_cannot_be_written_decide_nothing(judge, lake, caplog):
    (lake.reports / "gx").write_text("a file in the way")
    with caplog.at_level(logging.WARNING):
        assert judge().outcome == "accept"
    assert "Data Docs of population.person not written" in caplog.text


def test_an_officer_can_open_suite_and_results(judge, lake):
    """In a fresh process that imports nothing of this project."""
    import subprocess
    import sys

    judge([rule(failed=1), rule("name.required")])
    opened = subprocess.run([sys.executable, "-c", f"""
import great_expectations as gx
context = gx.get_context(context_root_dir={str(lake.reports / 'gx' / 'population.person')!r})
suite = context.suites.get('population.person~public_security')
print(len(suite.expectations), type(suite.expectations[0]).__name__, len(context.validation_results_store.list_keys()))
again = context.checkpoints.get('population.person~public_security').run().describe_dict()['validation_results'][0]
print(again['statistics']['evaluated_expectations'], [e['result']['unexpected_count'] for e in again['expectations']])
"""], capture_output=True, text=True, check=True, cwd="/")
    assert opened.stdout.splitlines()[0].split() == ["2", "ExpectRuleToHold", "1"]
    assert sorted(opened.stdout.splitlines()[1]) == sorted("2 [1, 0]")


def test_pages_group_rules_by_the_field_they_judge(judge, lake):
    judge([rule("name.required", field="姓名 name"), rule("spouses_agree", field=""), rule("id_number.checksum", field="公民身份号码 id_number", failed=2),
           rule("name.characters", field="姓名 name")])
    pages = [p.read_text(encoding="utf-8") for p in (lake.reports / "gx" / "population.person" / "docs").rglob("*.html") if p.name != "index.html"]
    assert len(pages) == 2
    for page in pages:
        headings = re.findall(r"<h5[^>]*>\s*(?:<span>)?\s*([^<]+?)\s*<", page)
        assert headings == ["概况 Overview", "姓名 name", "公民身份号码 id_number", "整行与跨字段 The row and its fields together"]


def test_judging_needs_no_network_and_prints_nothing(judge, monkeypatch, capfd):
    def refuse(*_):
        raise AssertionError("the gate reached for the network")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert judge().outcome == "accept"
    assert capfd.readouterr() == ("", "")


def test_importing_the_gate_does_not_import_great_expectations():
    import subprocess
    import sys

    code = "import sys, pipelines.gate, pipelines.reports; sys.exit('great_expectations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


def test_the_staged_folder_is_left_as_it_was(judge, tmp_path):
    folder = stage(tmp_path / "s", [rule()])
    before = sorted(p.name for p in folder.iterdir())
    judge(folder=folder)
    assert sorted(p.name for p in folder.iterdir()) == before
