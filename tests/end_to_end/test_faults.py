"""A file with an unclosed quote in its middle: read by records it does not close, read by lines every good row is there."""
from __future__ import annotations

from datetime import date

import duckdb
import pytest
import sqlalchemy as sa

from pipelines import base, landing, ledger_tables as tables, readers, steps
from pipelines.readers import lines
from pipelines.sample import generate
from pipelines.settings import Project
from tests.support import REPOSITORY, desk


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    root = tmp_path_factory.mktemp("faulty")
    at = desk(root, Project(REPOSITORY))
    generate(at.lake.inbox, 1_000, 5, date(2026, 11, 1), truth=root / "truth", dirt=0, faults=True)
    keys = steps.receive("population.person", desk=at)
    passed = steps.judge("population.person", steps.stage("population.person", keys, at), at)
    steps.commit("population.person", passed, at)
    return at, root / "truth", keys, passed


def test_by_lines_every_good_row_is_recovered_and_the_bad_lines_are_listed(faulty):
    at, truth, keys, passed = faulty
    assert passed == keys, steps.report("population.person", keys, at)
    rows = at.ledger.rows(sa.select(tables.batches).where(tables.batches.c.dataset == "population.person"))
    spoiled = [r for r in rows if r["reading"] == "lines"]
    assert [r["part"] for r in spoiled] == ["640200"]
    planted = duckdb.sql(f"SELECT count(*) FROM '{truth}/defects.parquet' WHERE outcome = 'unparseable'").fetchone()[0]
    assert spoiled[0]["unparseable"] == planted > 0
    for row in rows:
        assert row["lines"] == row["header"] + row["trailer"] + row["blank"] + row["records"] + row["inner_line_ends"] + row["unparseable"]
    clean = duckdb.sql(f"SELECT count(*) FROM '{truth}/clean/population.person~public_security~2026-11-01.parquet' "
                       "WHERE _file LIKE '%640200%'").fetchone()[0]
    assert spoiled[0]["records"] == clean - planted
    listed = [f for f in (at.lake.quarantine / "population.person").glob("*640200*")]
    assert duckdb.sql(f"SELECT count(*) FROM '{listed[0]}' WHERE rules[1] LIKE 'line.%'").fetchone()[0] == planted


def test_without_the_reading_by_lines_the_equation_does_not_close_and_the_batch_is_refused(faulty, monkeypatch):
    at, _, keys, _ = faulty
    key = next(k for k in keys if "640200" in k)
    manifest = landing.read_manifest(landing.folder(at.lake, *steps.split_key(key)))

    def no_lines(_con, unit, *_rest):
        raise readers.ReadRefused("conservation", f"{unit.name}: the lines do not close")

    monkeypatch.setattr(lines, "read", no_lines)
    copy = at.lake.home / "again.csv"
    copy.write_bytes((manifest.folder / manifest.files[0].stored).read_bytes())
    steps.submit("population.person", [copy], "public_security", "2026-12-01", desk=at, part="640200")
    waiting = steps.receive("population.person", "2026-12-01", at)
    assert len(waiting) == 1 and steps.stage("population.person", waiting, at) == []
    assert at.ledger.batch(steps.split_key(waiting[0])[0])["state"] == "refused"
    assert "do not close" in steps.report("population.person", waiting, at)[0]


def test_the_accepted_rows_are_in_base(faulty):
    at, _, keys, _ = faulty
    found = base.state(at.lake, at.plan("population.person")).segments
    assert len(found) == len(keys) and all(v.rows > 0 for v in found.values())
