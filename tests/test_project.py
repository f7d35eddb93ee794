"""The whole project: everything declared is proved, and what is broken on purpose is noticed."""
from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from pipelines import compiler, masks, steps, themes
from pipelines.check import check
from pipelines.contract import datasets
from pipelines.settings import Project, WrongUse
from tests.conftest import LOOK_AT_SAMPLE
from tests.support import HEADER, REPOSITORY, RESIDENCE, desk, project, resident_id, write_csv


def test_the_project_checks_clean():
    found = check(Project(REPOSITORY))
    assert found["errors"] == []
    assert (found["datasets"], found["views"]) == (12, len(themes.themes(Project(REPOSITORY))))
    assert found["rules"] > 500


@pytest.fixture
def residence(tmp_path) -> Project:
    return project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert"))


def _break(made: Project, file: str, old: str, new: str) -> None:
    """Change a file of the project without touching the repository that it links to."""
    path = made.root / file
    for parent in [path, *path.parents]:
        if parent.is_symlink():
            target = parent.resolve()
            parent.unlink()
            shutil.copytree(target, parent)
            break
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_wrong_check_digit_weight_is_noticed(residence):
    macros = (REPOSITORY / "warehouse/macros/identifiers.sql").read_text()
    weight = re.search(r"// 10000000000000000[^*]*\* 7|\* 7\b", macros)
    assert weight
    _break(residence, "warehouse/macros/identifiers.sql", weight[0], weight[0].replace("* 7", "* 8"))
    errors = check(residence)["errors"]
    assert any("id_number" in e and "must-pass" in e for e in errors), errors


@pytest.mark.parametrize("holds", ["NULL", "true", "length(status) > 0 OR status IS NOT NULL"])
def test_a_rule_that_cannot_fail_or_returns_null_is_noticed(residence, holds):
    (residence.expectations / "population").mkdir()
    (residence.expectations / "population/residence.yaml").write_text(f"""
- {{rule: status_known, zh: 状态已知, en: status is known, holds: "{holds}", indicator: "0104", severity: warn, owner: 公安局, reason: 试验,
   must_fail: {{status: x}}, must_pass: {{status: 有效}}}}
""")
    errors = check(residence)["errors"]
    assert any("status_known" in e for e in errors), errors


def test_a_column_that_nothing_tests_is_noticed(residence, monkeypatch):
    """A type without a check would let a column into base unread."""
    plan = compiler.plan(datasets(residence)[0], ())
    stripped = compiler.Plan(plan.dataset, plan.types, tuple(r for r in plan.rules if r.column != "status"), ())
    monkeypatch.setattr(compiler, "plan", lambda *_: stripped)
    assert any("no rule reads column status" in e for e in check(residence)["errors"])


def test_an_unknown_type_list_or_condition_is_noticed(residence):
    for old, new, says in [("semanticType: text", "semanticType: txt", "status"), ("semanticType: region_code", "semanticType: code(nosuch)", "nosuch"),
                           ("{property: region, value: region_code}", "{property: publish_when, value: no_such_column > 1}", "publish_when")]:
        made = residence
        _break(made, "warehouse/contracts/population/residence.yaml", old, new)
        errors = check(made)["errors"]
        assert any(says in e for e in errors), (says, errors)
        _break(made, "warehouse/contracts/population/residence.yaml", new, old)


def test_wrong_contracts_among_many_are_each_found_with_all_their_errors(tmp_path):
    """Columns that are declared alike are proved once; what is wrong is told of every dataset that has it."""
    many = {f"register{n:02d}": RESIDENCE.replace("LOAD", "upsert").replace("residence", f"register{n:02d}") for n in range(20)}
    status = "{name: status, businessName: 状态"
    for n, old, new in [
            (3, status, "{name: name__c, businessName: 状态"),      # gets in the way of what is made of `name`
            (5, "{property: region, value: region_code}", "{property: publish_when, value: no_such_column > 1}"),
            (5, "classification: personal, required: true", "classification: personal, required: true, customProperties: [{property: classified, value: {when: nor_this = 1, then: sensitive}}]"),
            (9, "semanticType: region_code", "semanticType: code(nosuch)"),
            (14, status, "{name: given, businessName: 状态")]:
        assert old in many[f"register{n:02d}"]
        many[f"register{n:02d}"] = many[f"register{n:02d}"].replace(old, new, 1)
    many["register05"] = many["register05"].replace("}], customProperties: [{property: at_least, value: 0.2}]}", "}, {property: at_least, value: 0.2}]}")
    made = project(tmp_path / "project", **{f"population__{name}": text for name, text in many.items()})
    (made.expectations / "population").mkdir()
    for name in ("register07", "register14"):
        (made.expectations / f"population/{name}.yaml").write_text("""
- {rule: named, zh: 有姓名, en: named, holds: name IS NOT NULL, indicator: "0201", severity: warn, owner: 公安局, reason: 试验, must_fail: {name: 张三}, must_pass: {name: 张三}}
- {rule: dated, zh: 有日期, en: dated, holds: born IS NOT NULL, indicator: "0201", severity: warn, owner: 公安局, reason: 试验, must_fail: {name: 张三}, must_pass: {name: 张三}}
""")
    errors = check(made)["errors"]
    told = {name: [e for e in errors if f"population.{name}: " in e or f"population/{name}.yaml: " in e] for name in many}
    assert {name for name, mine in told.items() if mine} == {"register03", "register05", "register07", "register09", "register14"}, errors
    assert sum(map(len, told.values())) == len(errors), "no error without its dataset"
    says = {"register03": ["column 'name__c'"], "register05": ["publish_when", "classified of name"], "register09": ["nosuch"],
            "register07": ["named: its must_fail row passes", "rule dated: "], "register14": ["named: its must_fail row passes", "rule dated: "]}
    for name, wanted in says.items():
        assert all(any(w in e for e in told[name]) for w in wanted), (name, told[name])


def test_what_is_wrong_with_a_type_is_told_of_every_dataset_that_uses_it(tmp_path):
    names = [f"register{n}" for n in range(3)]
    made = project(tmp_path / "project", **{f"population__{name}": RESIDENCE.replace("LOAD", "upsert").replace("residence", name) for name in names})
    _break(made, "warehouse/macros/identifiers.sql", "* 7", "* 8")
    errors = check(made)["errors"]
    assert all(any(f"population.{name}: column id_number: must-pass value" in e for e in errors) for name in names), errors


def test_a_personal_name_may_not_be_published(residence):
    plan = compiler.plan(datasets(residence)[0], ())
    names = {c.name for c in masks.published(plan)}
    assert not names & {"id_number", "name", "birth_date"} and {"person_id", "birth_year"} <= names
    text = RESIDENCE.replace("LOAD", "upsert").replace(
        "classification: personal, required: true, customProperties: [", "classification: personal, required: true, customProperties: [{property: mask, value: keep}, ")
    assert text != RESIDENCE.replace("LOAD", "upsert")
    (residence.contracts / "population/residence.yaml").write_text(text)
    with pytest.raises(WrongUse, match="name"):
        masks.judge(compiler.plan(datasets(residence)[0], ()))


def test_a_thirteenth_dataset_needs_one_file(tmp_path):
    """Contract in: DAG, table, suite, view, dictionary row and page out; nothing else was touched."""
    root = tmp_path / "project"
    shutil.copytree(REPOSITORY / "warehouse", root / "warehouse")
    shutil.copytree(REPOSITORY / "expectations", root / "expectations")
    (root / "warehouse/contracts/population/residence.yaml").write_text(RESIDENCE.replace("LOAD", "upsert"))
    at = desk(tmp_path, Project(root))
    file = write_csv(tmp_path / "out/640100.csv", HEADER, [(resident_id(n), "赵一", "1990-01-01", "640104", "有效", "") for n in range(1, 6)])
    steps.submit("population.residence", [file], "police", "2026-11-01", desk=at)
    keys = steps.receive("population.residence", desk=at)
    passed = steps.judge("population.residence", steps.stage("population.residence", keys, at), at)
    assert steps.commit("population.residence", passed, at)["accepted"] == 5
    assert steps.release(at)["release_id"] == 1
    con = duckdb.connect(str(at.lake.database), read_only=True)
    assert con.execute("SELECT count(*), count(DISTINCT person_id) FROM population.residence").fetchone() == (5, 5)
    assert con.execute("SELECT count(*) FROM governance.columns WHERE dataset = 'population.residence'").fetchone()[0] >= 5
    assert con.execute("SELECT count(*) FROM governance.rule_results WHERE batch_id LIKE 'population.residence%'").fetchone()[0] > 10
    comment = con.execute("SELECT comment FROM duckdb_views() WHERE schema_name = 'population' AND view_name = 'residence'").fetchone()[0]
    assert "居住" in comment
    assert list((at.lake.reports / "population.residence").glob("*.html"))
    assert list((at.lake.reports / "gx/population.residence").rglob("*.html"))
    dags = subprocess.run([sys.executable, str(REPOSITORY / "tests/dags/parse.py"), str(REPOSITORY / "dags")], env={
        "LAKE_PROJECT": str(root), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=300)
    assert "ingest.population.residence" in dags.stdout, dags.stderr[-2000:]


def _modules() -> list[Path]:
    return sorted(p for d in ("pipelines", "dags") for p in (REPOSITORY / d).rglob("*.py"))


def test_no_row_of_data_goes_through_python():
    words = re.compile(r"iterrows|itertuples|\.apply\(|to_dict\(.records|\.df\(\)|fetchdf|import pandas")
    assert [p.name for p in _modules() if words.search(p.read_text())] == []


def test_docs_and_modules_keep_their_size():
    long = {p.name: n for p in [*REPOSITORY.glob("docs/*.md"), REPOSITORY / "README.md"] if p.exists() and (n := len(p.read_text().splitlines())) > 500}
    assert long == {}


def test_contracts_stay_short():
    for found in datasets(Project(REPOSITORY)):
        lines = len([line for line in found.path.read_text().splitlines() if line.strip()])
        assert lines <= 28 + 12 * len(found.sources) + len(found.columns), (found.id, lines)


def test_files_that_look_at_the_sample_share_a_worker(request):
    looking = {item.path.name for item in request.session.items if "run" in item.fixturenames}
    assert looking <= set(LOOK_AT_SAMPLE)
