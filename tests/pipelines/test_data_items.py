"""What governance.columns and usage_notes say, against what was counted by hand: two streams, three revisions, a problem, a waiver, a rule over two columns."""
from __future__ import annotations

import duckdb
import pytest

from pipelines import compiler, data_items, ledger_tables as tables, release
from pipelines.contract import datasets
from pipelines.languages import two_languages
from pipelines.settings import Project
from pipelines.site.described import Described
from tests.states import state
from tests.support import REPOSITORY, RESIDENCE, desk, project, resident_id

DATASET = "population.residence"
ROWS = [{"id_number": resident_id(1), "name": "赵某", "birth_date": "1990-01-01", "region_code": "640104"}, {"id_number": resident_id(2), "region_code": "640104"},
        {"id_number": resident_id(3), "name": "钱某"}, {"id_number": resident_id(4), "region_code": "640105"}]
RULES = """
- rule: born_before_moving
  zh: 出生早于登记
  en: birth is before registration
  holds: birth_date is null or region_code is not null
  indicator: "0402"
  severity: warn
  owner: 公安局
  reason: 试验
  changes: [{date: 2026-01-01, at_least: 0.99, reason: 首次确定}]
  must_fail: {id_number: 11010519491231002X, name: 王芳, birth_date: 1949-12-31}
  must_pass: {id_number: 11010519491231002X, name: 王芳, birth_date: 1949-12-31, region_code: "640104"}
"""


def batch(source: str, day: str, revision: int = 1, state: str = "accepted") -> dict:
    return {"batch_id": f"{DATASET}~{source}~640100~{day}~1", "revision": revision, "dataset": DATASET, "source": source, "part": "640100", "batch_date": day, "sequence": 1,
            "state": state, "received_at": f"{day}T00:00:00Z", "files": 1, "bytes": 1}


def result(of: dict, rule: str, applicable: int, failed: int) -> dict:
    return {"batch_id": of["batch_id"], "revision": of["revision"], "rule": rule, "applicable": applicable, "failed": failed, "severity": "reject", "at_least": 0.9, "zh": "x", "en": "x",
            "indicator": "0302", "outcome": "pass", "repaired": 0}


def problem(number: int, rule: str, state: str) -> dict:
    return {"id": number, "dataset": DATASET, "rule": rule, "department": "公安局", "source": "police", "state": state, "zh": "名", "en": "n", "severity": "reject",
            "opened_at": "2026-10-03T00:00:00Z", "applicable": 1200, "failed": 7, "reopened": 0, "changed_at": "2026-10-03T00:00:00Z", "changed_by": "gate"}


@pytest.fixture(scope="module")
def con(tmp_path_factory):
    root = tmp_path_factory.mktemp("items")
    made = project(root / "project", population__residence=RESIDENCE.replace("LOAD", "upsert"))
    (made.expectations / "population").mkdir()
    (made.expectations / "population/residence.yaml").write_text(RULES, encoding="utf-8")
    at = desk(root, made)
    old, wrong, right, grid, held = (batch("police", "2026-10-01"), batch("police", "2026-11-01", 1, "superseded"), batch("police", "2026-11-01", 2),
                                     batch("grid", "2026-11-01"), batch("grid", "2026-12-01", 1, "held"))
    results = [result(old, "name.required", 100, 100), result(wrong, "name.required", 100, 90), result(right, "name.required", 100, 10), result(right, "name.masked", 50, 0),
               result(grid, "name.required", 50, 0), result(held, "name.required", 50, 50), result(right, "born_before_moving", 100, 4), result(grid, "birth_date.date", 0, 0)]
    waiver = {"dataset": DATASET, "rule": "name.required", "source": "police", "owner": "公安局", "document": "公字〔2026〕1号", "reason": "不应出现", "granted_at": "2026-10-05T00:00:00Z",
              "granted_by": "王质控", "expires_on": "2026-12-31", "keys": None, "ended_at": None}
    with at.ledger.transaction() as ledger:
        ledger.execute(tables.batches.insert(), [old, wrong, right, grid, held])
        ledger.execute(tables.rule_results.insert(), results)
        ledger.execute(tables.problems.insert(), [problem(1, "name.required", "open"), problem(2, "born_before_moving", "in_progress"), problem(3, "name.masked", "verified"),
                                                  problem(4, "volume", "open")])
        ledger.execute(tables.waivers.insert(), [waiver, waiver | {"rule": "name.masked", "ended_at": "2026-10-06T00:00:00Z"}])
    plans = {d.id: at.plan(d.id) for d in datasets(made)}
    assert release.publish(at.lake, made, plans, {DATASET: state(at.lake, plans[DATASET], ROWS)}, at.ledger, "test")
    with duckdb.connect(str(at.lake.database), read_only=True) as found:
        yield found


def of(con, what: str) -> dict:
    return dict(con.execute(f'SELECT "column", {what} FROM governance.columns WHERE dataset = ?', [DATASET]).fetchall())


def test_how_full_a_column_is_is_counted_from_its_rows(con):
    want = {c: sum(r.get(c) is not None for r in ROWS) / len(ROWS) for c in ("id_number", "name", "birth_date", "region_code", "status")}
    assert of(con, "fill_rate") == want and want["name"] == 0.5
    assert con.execute(f"SELECT count(birth_year) / count(*) FROM {DATASET}").fetchone()[0] == want["birth_date"]


def test_how_good_it_is_counts_the_newest_accepted_batch_of_every_stream(con):
    assert of(con, "round(score, 9)") == {"id_number": None, "name": round(1 - 10 / 200, 9), "birth_date": 0.96, "region_code": 0.96, "status": None}


def test_who_answers_how_new_and_which_standard(con):
    assert set(of(con, "owner").values()) == {"公安局、网格中心"} and {str(d) for d in of(con, "last_update").values()} == {"2026-11-01"}
    assert of(con, "standard") == {"id_number": "GB 11643-1999", "name": None, "birth_date": "GB/T 7408", "region_code": "GB/T 2260", "status": None}


def test_notes_are_the_open_problems_the_waivers_in_force_and_the_caveats(con):
    found = con.execute('SELECT kind, "column", zh, en, since::VARCHAR FROM governance.usage_notes WHERE dataset = ? ORDER BY ALL', [DATASET]).fetchall()
    said = "名：1,200 条中 7 条不成立（问题单 {}，公安局，{}）", "n: fails on 7 of 1,200 records (problem {}, 公安局, {})"
    assert [n for n in found if n[0] == "problem"] == [
        ("problem", "birth_date", said[0].format(2, "整改中"), said[1].format(2, "in progress"), "2026-10-03"),
        ("problem", "name", said[0].format(1, "待整改"), said[1].format(1, "open"), "2026-10-03"),
        ("problem", "region_code", said[0].format(2, "整改中"), said[1].format(2, "in progress"), "2026-10-03"),
        ("problem", None, said[0].format(4, "待整改"), said[1].format(4, "open"), "2026-10-03")]
    [waiver] = [n for n in found if n[0] == "waiver"]
    assert waiver[1] == "name" and waiver[4] == "2026-10-05" and all(w in waiver[2] for w in ("police", "全部记录", "2026-12-31", "公字〔2026〕1号"))
    assert ("caveat", None, "试验数据。", "Trial data.", None) in found
    assert not any("王质控" in n[2] + n[3] or "不应出现" in n[2] + n[3] for n in found), "officers' names and free words stay in the ledger"


def test_columns_of_views_are_described_too(con):
    rows = con.execute("SELECT zh, en, fill_rate FROM governance.columns WHERE dataset = 'governance.dataset_scores' AND \"column\" = 'mom'").fetchall()
    assert rows == [("环比", "Change to the month before, relative", None)]


LINEAGE = [("v", "w", "population.person", "person_id", "select"), ("v", "w", "population.person", "sex_code", "select"), ("v", "w", "population.person", "religion_code", "filter"),
           ("v", "x", "population.person", "sex_code", "select")]


def test_what_lineage_tells_of_a_views_columns():
    made = Project(REPOSITORY)
    plans = {d.id: compiler.plan(d, ()) for d in datasets(made) if d.id == "population.person"}
    own = [{"dataset": "population.person", "column": "id_number", "classification": "personal", "score": 0.5, "semantic_type": "resident_id", "code_list": None, "standard": "GB 11643-1999"},
           {"dataset": "population.person", "column": "sex_code", "classification": "internal", "score": None, "semantic_type": "code(sex)", "code_list": "sex", "standard": "GB/T 2261.1-2003"}]
    view = {"schema": "a", "name": "v", "needs": ["population.person"], "columns": [["w", "甲 — A"], ["x", "乙 — B"], ["y", "丙 — C"]], "comment": ""}
    edges = [dict(zip(("view", "column", "source_view", "source_column", "clause"), (f"a.{e[0]}", *e[1:]), strict=True)) for e in LINEAGE]
    w, x, y = data_items._view_columns(plans, own, [view], {"population.person": {"as_of": "2026-11-01"}}, edges)
    assert (w["classification"], w["score"], w["standard"]) == ("personal", 0.5, None), "the strictest, the lowest, and only what all share"
    assert (x["classification"], x["code_list"], x["standard"]) == ("internal", "sex", "GB/T 2261.1-2003")
    assert (y["classification"], y["last_update"], y["zh"], y["en"]) == (None, "2026-11-01", "丙", "C")


def test_a_dictionary_shows_the_lineage_that_a_release_has():
    with duckdb.connect() as con:
        con.execute("CREATE SCHEMA governance; CREATE TABLE governance.lineage(view VARCHAR, \"column\" VARCHAR, source_view VARCHAR, source_column VARCHAR, clause VARCHAR)")
        con.executemany("INSERT INTO governance.lineage VALUES (?, ?, ?, ?, ?)", [(f"a.{e[0]}", *e[1:]) for e in LINEAGE])
        theme = {"schema": "a", "name": "v", "sql": "SELECT 1", "needs": ["population.person", "population.death"]}
        found = Described(con, {"relations": {"governance.lineage": {}}, "views": [theme]})
        assert found.sources == {("a.v", "w"): [("population.person", "person_id"), ("population.person", "sex_code")], ("a.v", "x"): [("population.person", "sex_code")]}
        assert found.readers == {"population.person": ["a.v"], "population.death": ["a.v"]}
        assert Described(con, {"relations": {}, "views": []}).sources == {}, "a release from before there was lineage"


@pytest.mark.parametrize("holds, columns", [
    ("a in (select a from x.y where left(b, 1) = 'c')", {"a"}), ("exists (select 1 from x.y p where p.b = own.c)", {"c"}), ("coalesce(length(a) > 2, (select max(b) from t) = 1)", {"a"}),
    ("a = 'b'", {"a"}), ("a in(select b from t where c in (select a from t))", {"a"})])
def test_a_rule_judges_the_columns_of_its_own_row(holds, columns):
    assert data_items._read(holds) & set("abc") == columns


@pytest.mark.parametrize("words, both", [
    ("一人一行。One row per person.", ("一人一行。", "One row per person.")), ("甲；乙 GB/T 2260。Division code, GB/T 2260.", ("甲；乙 GB/T 2260。", "Division code, GB/T 2260.")),
    ("A code to look up. 代码清洗。", ("代码清洗。", "A code to look up.")), ("只有中文。", ("只有中文。", "只有中文。")), ("English only", ("English only", "English only"))])
def test_words_in_two_languages_are_told_apart(words, both):
    assert two_languages(words) == both
