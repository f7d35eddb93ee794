"""Every block of docs/recipes.md that can run here is run, on the sample; the notebook runs to its end; the portable file holds what lake.duckdb shows."""
from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa

from pipelines import ledger_tables as tables, portable
from pipelines.serving import tokens
from pipelines.settings import Lake, WrongUse
from tests import browser, servers
from tests.flight import certificate, serving
from tests.support import REPOSITORY, desk

RECIPES = (REPOSITORY / "docs/recipes.md").read_text(encoding="utf-8")
PROGRAMS = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
# Five drawings, wherever they stand in the page's shadow trees.
CHARTS = """() => { const count = root => [...root.querySelectorAll('*')].reduce((n, e) => n + (e.tagName === 'CANVAS' || e.classList.contains('marks') && e.tagName === 'svg')
    + (e.shadowRoot ? count(e.shadowRoot) : 0), 0); return count(document) >= 5 }"""
ANALYSES = ("pyramid", "insured", "founded", "leads", "quality")


def blocks(kind: str) -> list[str]:
    """The fenced blocks of one kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", RECIPES, re.MULTILINE | re.DOTALL)


def wait_for(address: str) -> None:
    """Until something answers there, half a minute at most."""
    for _ in range(100):
        try:
            urllib.request.urlopen(address).close()
            return
        except OSError:
            time.sleep(0.3)
    raise TimeoutError(address)


def here(text: str, lake: Lake) -> str:
    """A block with this lake in the place of the document's."""
    return text.replace("lake/lake.duckdb", str(lake.database)).replace("lake/releases", str(lake.releases))


def test_no_block_is_of_an_unknown_kind():
    assert set(re.findall(r"^```(\S.*)$", RECIPES, re.MULTILINE)) == {"sh", "sql", "python", "python server", "r", "text", "ini"}


@pytest.mark.parametrize("command", [line for block in blocks("sh") for line in block.splitlines() if line.startswith("duckdb ")])
def test_the_command_line(run, tmp_path, command):
    done = subprocess.run(["bash", "-c", here(command, run.desk.lake)], cwd=tmp_path, env=os.environ | PROGRAMS, capture_output=True, text=True, check=True)
    assert done.stdout or (tmp_path / "cities.csv").read_text().splitlines()[1].startswith("64")


@pytest.mark.parametrize("sql", blocks("sql"))
def test_sql(run, sql):
    done = subprocess.run(["duckdb", "-bail", "-csv"], input=here(sql, run.desk.lake), env=os.environ | PROGRAMS, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[:1] in ([], ["was,is_now,persons"])


@pytest.mark.parametrize("code", blocks("python"))
def test_python(run, code):
    if "polars" in code:
        pytest.importorskip("polars")
    found: dict = {}
    exec(here(code, run.desk.lake), found)
    truth = run.desk.lake.database
    if "by_county" in found:
        with duckdb.connect(str(truth), read_only=True) as con:
            assert dict(con.execute("SELECT hukou_region_code, count(*) FROM population.person WHERE hukou_region_code IS NOT NULL GROUP BY ALL").fetchall()) == found["by_county"].to_dict()
    assert found.get("county", 1) > 0 and found.get("reason", "checksum") == "checksum" and found.get("rows", 1) > 0


def test_the_server(run, tmp_path, monkeypatch):
    """In the server's own blocks the address is this server's, and the token one that was made."""
    certificate(tmp_path)
    token = tokens.issue(tmp_path / "tokens.json", "李分析", "analyst", "2099-12-31")[1]
    monkeypatch.chdir(tmp_path)
    with serving(run.desk.lake, tmp_path) as server:
        for code in blocks("python server"):
            found = {"TOKEN": token}
            exec(code.replace("lake.example.cn:31337", f"localhost:{server.port}"), found)
            assert found.get("persons", 1) > 0 and len(found.get("frame", "x")) > 0


def test_the_notebook_runs_to_its_end(run, monkeypatch):
    monkeypatch.setenv("LAKE_HOME", str(run.desk.lake.home))
    spec = importlib.util.spec_from_file_location("notebook", REPOSITORY / "docs/notebook.py")
    notebook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(notebook)
    outputs, found = notebook.app.run()
    assert sum("altair" in str(o.text).lower() or "vega" in str(o.text).lower() for o in outputs if o is not None) == 5
    assert all(len(found[name]) for name in ANALYSES) and found["pyramid"].persons.min() >= 10
    with duckdb.connect(str(run.desk.lake.database), read_only=True) as con:
        assert found["leads"].leads.sum() == con.execute("SELECT count(*) FROM population.benefit_after_death").fetchone()[0]
        alive = con.execute("SELECT count(*) FROM population.person WHERE death_year IS NULL AND cancel_year IS NULL").fetchone()[0]
    assert 0.9 * alive < found["pyramid"].persons.sum() <= alive


@pytest.fixture(scope="module")
def moved(run, tmp_path_factory):
    """The portable file of the sample, written over an earlier one of the same lake, and taken elsewhere."""
    folder = tmp_path_factory.mktemp("portable")
    (folder / "another place").mkdir()
    file = folder / "lake-portable.duckdb"
    with duckdb.connect(str(file)) as con:
        con.execute(f"CREATE TABLE portable AS SELECT '{portable._id(run.desk.lake)}' AS lake")
    made = portable.make(run.desk, file, "王分析", "离线分析二")
    assert [p.name for p in folder.iterdir() if p.is_file()] == [file.name]
    return made, Path(shutil.move(file, folder / "another place" / "湖.duckdb"))


def test_the_portable_file_holds_what_the_lake_shows(run, moved):
    """Every view's rows, columns, types and comments, and every macro, are equal; without access to any file but itself."""
    made, file = moved
    columns = "SELECT schema_name, table_name, column_index, column_name, data_type, comment FROM duckdb_columns() WHERE NOT internal AND table_name <> 'portable' ORDER BY ALL"
    relations = ("SELECT schema_name, view_name, comment FROM duckdb_views() WHERE NOT internal UNION ALL "
                 "SELECT schema_name, table_name, comment FROM duckdb_tables() WHERE table_name <> 'portable' ORDER BY ALL")
    macros = "SELECT schema_name, function_name, parameters, macro_definition FROM duckdb_functions() WHERE NOT internal ORDER BY ALL"
    with duckdb.connect(str(run.desk.lake.database), read_only=True) as lake, duckdb.connect(str(file), read_only=True) as con:
        con.execute("SET enable_external_access = false")
        for sql in (columns, relations, macros):
            assert con.execute(sql).fetchall() == lake.execute(sql).fetchall() != []
        for schema, view, _ in lake.execute(relations).fetchall():
            content = f'SELECT count(*), sum(hash(t)::HUGEINT) FROM "{schema}"."{view}" t'
            assert con.execute(content).fetchone() == lake.execute(content).fetchone(), (schema, view)
        themes = {f"{s}.{v}" for s, v in con.execute("SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal").fetchall()}
        assert "population.benefit_after_death" in themes and "population.person" not in themes
        assert con.execute("SELECT made_for, purpose, role FROM main.portable").fetchall() == [("王分析", "离线分析二", "analyst")]
    assert made["bytes"] == file.stat().st_size and file.stat().st_mode & 0o077 == 0


def test_an_export_is_in_the_ledger(run, moved):
    [noted] = run.desk.ledger.rows(sa.select(tables.exports).where(tables.exports.c.id == moved[0]["export"]))
    assert (noted["form"], noted["exported_by"], noted["purpose"], noted["release_id"]) == ("portable", "王分析", "离线分析二", 1)
    assert noted["rows"] == moved[0]["rows"] > 10_000 and "population.person" in noted["views"].split(", ")


def test_the_portable_file_names_no_place_of_the_lake(run, moved):
    with duckdb.connect(str(moved[1]), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM duckdb_views() WHERE contains(sql, ?)", [str(run.desk.lake.home)]).fetchone() == (0,)


def test_what_is_not_a_portable_file_of_this_lake_is_never_overwritten(run, moved, tmp_path):
    (tmp_path / "letter.txt").write_text("keep")
    duckdb.connect(str(tmp_path / "other.duckdb")).execute("CREATE TABLE t AS SELECT 1 AS a").close()
    shutil.copyfile(moved[1], tmp_path / "foreign.duckdb")
    with duckdb.connect(str(tmp_path / "foreign.duckdb")) as con:
        con.execute("UPDATE main.portable SET lake = 'another'")
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    for file in before:
        with pytest.raises(WrongUse, match="left alone"):
            portable.make(run.desk, file, "李分析", "试")
    for file in (run.desk.lake.database, run.desk.lake.releases / "new.duckdb"):
        with pytest.raises(WrongUse, match="lies in the lake"):
            portable.make(run.desk, file, "李分析", "试")
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_nothing_leaves_without_a_name_a_purpose_and_a_release(run, tmp_path):
    for who, purpose, grant, says in ((" ", "x", None, "An export needs --by"), ("李", "", None, "An export needs --purpose"), ("李", "x", "99", "has ended, or never was"),
                                      ("李", "x", "../1", "no role")):
        with pytest.raises(WrongUse, match=says):
            portable.make(run.desk, tmp_path / "p.duckdb", who, purpose, grant)
    with pytest.raises(WrongUse, match="Nothing is published"):
        portable.make(desk(tmp_path), tmp_path / "p.duckdb", "李", "x")
    assert not (tmp_path / "p.duckdb").exists()


def test_a_failure_leaves_the_file_that_was_there(run, tmp_path, monkeypatch):
    file = tmp_path / "p.duckdb"
    role = tmp_path / "role.duckdb"
    with duckdb.connect(str(role)) as con:
        con.execute(f"COPY (SELECT 1 AS a) TO '{tmp_path}/a.parquet'; CREATE VIEW v AS SELECT a FROM read_parquet(['{tmp_path}/a.parquet'])")
    monkeypatch.setattr(portable.roles, "database", lambda *_: role)
    portable.make(run.desk, file, "李", "x")
    kept = file.read_bytes()
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(WrongUse, match="removed meanwhile"):
        portable.make(run.desk, file, "李", "x")
    with duckdb.connect(str(role)) as con:
        con.execute(f"CREATE OR REPLACE VIEW v AS SELECT 1 AS a; CREATE MACRO far() AS '{run.desk.lake.home}/x.parquet'")
    with pytest.raises(WrongUse, match="main.far would still read"):
        portable.make(run.desk, file, "李", "x")
    assert file.read_bytes() == kept and not list(tmp_path.glob(".*"))


@pytest.mark.long
def test_the_notebook_in_a_browser_draws_and_loads_nothing_from_outside(run, tmp_path):
    """As `make notebook` opens it, on a copy: five charts in Chromium, no error, no request beyond this machine."""
    for file in ("docs/notebook.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / file, tmp_path)
    command = ["marimo", "-q", "edit", "notebook.py", "--headless", "--no-token", "--no-sandbox", "--skip-update-check", "--port", str(servers._port())]
    with subprocess.Popen(command, cwd=tmp_path, env=os.environ | PROGRAMS | {"LAKE_HOME": str(run.desk.lake.home)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(f"http://127.0.0.1:{command[-1]}/health")
            with browser.chromium() as program:
                page, errors, outside = program.new_page(), [], []
                page.on("request", lambda r: outside.append(r.url) if r.url.startswith("http") and "//127.0.0.1:" not in r.url else None)
                page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
                page.goto(f"http://127.0.0.1:{command[-1]}/")
                page.wait_for_function(CHARTS, timeout=60_000)
                assert (errors, outside) == ([], [])
        finally:
            process.terminate()
