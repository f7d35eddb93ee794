"""What an export promises: the shown release and nothing else, no more rows than said, no formula, one line in the ledger and no value in it."""
from __future__ import annotations

import csv

import openpyxl
import pytest
import sqlalchemy as sa

from pipelines import exports, ledger_tables as tables
from pipelines.settings import WrongUse
from tests.pipelines.test_release import World

WHO = {"purpose": "统计", "by": "王分析", "rows": 10}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("exports"))
    made.publish()
    return made


@pytest.fixture
def ledger(world):
    """The exports of one test."""
    before = len(exports.listing(world.desk))
    return lambda: exports.listing(world.desk)[:len(exports.listing(world.desk)) - before]


def test_a_csv_with_its_line_in_the_ledger(world, ledger, tmp_path):
    done = exports.export("SELECT notice_no, kind FROM credit.notice WHERE subject <> '甲不存在' ORDER BY 1", tmp_path / "a.csv", **WHO, desk=world.desk)
    rows = list(csv.reader((tmp_path / "a.csv").open(encoding="utf-8-sig")))
    assert rows == [["notice_no", "kind"], ["1号", "1"]] and done["rows"] == 1
    [row] = ledger()
    assert (row["exported_by"], row["purpose"], row["form"], row["rows"], row["views"], row["columns"], row["release_id"]) == (
        "王分析", "统计", "csv", 1, "credit.notice", "credit.notice.kind, credit.notice.notice_no, credit.notice.subject", 1)
    assert "甲不存在" not in str(row) and "a.csv" not in str(row)


FORMULAS = ["=1+1", "+1", "-2", "@SUM(A1)", "\t=1", "\r=1", " =1", "　=1", "＝1", "＋1", "－1", "＠x"]


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_no_cell_and_no_header_is_a_formula(world, tmp_path, form):
    query = "SELECT unnest([" + ", ".join(f"'{f}'" for f in FORMULAS) + ", '平常', '12345678901234567890']) AS \"=cmd()\", -5 AS n, DATE '2026-01-01' AS d, -1.5::DECIMAL(9, 2) AS m, ['=a'] AS l"
    exports.export(query, tmp_path / f"f.{form}", **WHO | {"rows": 100}, desk=world.desk)
    if form == "csv":
        rows = list(csv.reader((tmp_path / "f.csv").open(encoding="utf-8-sig", newline="")))
    else:
        sheet = openpyxl.load_workbook(tmp_path / "f.xlsx").active
        assert {c.data_type for row in sheet.iter_rows() for c in row} == {"s", "n"}
        rows = [[("" if v is None else v) for v in row] for row in sheet.iter_rows(values_only=True)]
    assert rows[0] == ["'=cmd()", "n", "d", "m", "l"]
    assert [str(r[0]).replace("_x000D_", "\r") for r in rows[1:]] == [f"'{f}" for f in FORMULAS] + ["平常", "12345678901234567890"]
    assert {(str(r[1]), str(r[2]), str(r[3])) for r in rows[1:]} == {("-5", "2026-01-01", "-1.50")}


def test_more_rows_than_said_write_nothing(world, ledger, tmp_path):
    with pytest.raises(WrongUse, match="more than the 1 rows"):
        exports.export("FROM population.resident", tmp_path / "a.csv", **WHO | {"rows": 1}, desk=world.desk)
    assert list(tmp_path.iterdir()) == [] and ledger() == []


@pytest.mark.parametrize(("query", "says"), [
    ("SELECT * FROM read_parquet('{current}/*/*/rows.parquet')", "not part of the release"), ("SELECT * FROM read_text('/etc/passwd')", "not part of the release"),
    ("SELECT * FROM read_text('{releases}/r000001/manifest.json')", "not part of the release"), ("COPY (SELECT 1) TO '{releases}/x.csv'", "one SELECT"),
    ("SELECT 1; SELECT 2", "one SELECT"), ("ATTACH '{releases}/r000001/lake.duckdb'", "one SELECT"), ("SET enable_external_access = true", "one SELECT"),
    ("SELECT '张三丰'::INTEGER AS n", "ConversionException"), ("SELECT nosuch FROM population.resident", "refused"), ("not sql", "refused")])
def test_a_query_sees_the_release_and_nothing_else(world, ledger, tmp_path, query, says):
    with pytest.raises(WrongUse, match=says) as refused:
        exports.export(query.format(current=world.lake.current, releases=world.lake.releases), tmp_path / "a.csv", **WHO, desk=world.desk)
    assert "张三丰" not in str(refused.value) and list(tmp_path.iterdir()) == [] and ledger() == []


@pytest.mark.parametrize(("changed", "says"), [({"purpose": ""}, "--purpose"), ({"by": " "}, "--by"), ({"rows": 0}, "between 1"), ({"rows": 2_000_000}, "between 1")])
def test_an_export_needs_its_words(world, tmp_path, changed, says):
    with pytest.raises(WrongUse, match=says):
        exports.export("SELECT 1 AS n", tmp_path / "a.csv", **WHO | changed, desk=world.desk)
    with pytest.raises(WrongUse, match="must end in"):
        exports.export("SELECT 1 AS n", tmp_path / "a.txt", **WHO, desk=world.desk)
    (tmp_path / "b.csv").touch()
    with pytest.raises(WrongUse, match="exists"):
        exports.export("SELECT 1 AS n", tmp_path / "b.csv", **WHO, desk=world.desk)


def test_it_is_logged_before_the_file_appears(world, ledger, tmp_path, monkeypatch):
    monkeypatch.setattr(exports.durable, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        exports.export("SELECT 1 AS n", tmp_path / "a.csv", **WHO, desk=world.desk)
    assert list(tmp_path.iterdir()) == [] and len(ledger()) == 1
    assert {c.name for c in tables.exports.c} & {"sql", "query", "path"} == set() and sa.inspect(world.desk.ledger.engine).has_table("ledger_exports")
