"""No personal value of the sample is in anything but landing, staging, base, current and keys; none can be rebuilt."""
from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import duckdb
import pypdf
import pytest

from pipelines.site import health
from tests import browser
from tests.support import check_character

PRIVATE = ("landing", "staging", "base", "current", "keys", "inbox", "outbox")
_PIECE = re.compile(rb"[0-9A-Za-z]{9,}")


def _exposed_files(run) -> list[Path]:
    home = run.desk.lake.home
    return [p for p in home.rglob("*") if p.is_file() and p.relative_to(home).parts[0] not in PRIVATE]


def _texts(path: Path) -> list[bytes]:
    """What a reader of the file sees: its bytes, for Parquet every cell of every text column as well, and for PDF its text."""
    found = [path.read_bytes()]
    if path.suffix == ".pdf":
        found += [unicodedata.normalize("NFKC", page.extract_text()).encode() for page in pypdf.PdfReader(path).pages]      # fonts write radicals for characters
    if path.suffix == ".parquet":
        columns = [r[0] for r in duckdb.sql(f"DESCRIBE FROM '{path}'").fetchall()]
        for column in columns:
            rows = duckdb.sql(f"""SELECT string_agg(DISTINCT "{column}"::VARCHAR, chr(10)) FROM '{path}'""").fetchone()[0]
            found.append((rows or "").encode())
    return found


@pytest.fixture(scope="module", autouse=True)
def health_checks(run):
    """The health checks of the sample's month, some of them printed."""
    health.write(run.desk, "2026-11", pdf=False)
    pages = [p for kind in ("department", "region") for p in sorted((run.desk.lake.reports / "months/2026-11").glob(f"{kind}-*.html"))[:2]]
    assert [health.print_page(browser.program(), p) for p in pages] == [True] * 4


def test_a_sweep_over_every_byte_that_others_can_read(run):
    con = run.connect()
    values = [v for v, in con.execute("SELECT DISTINCT value FROM personal_values WHERE searchable AND length(value) >= 3").fetchall()]
    assert len(values) > 10_000
    numbers = {v.encode() for v in values if v.isascii()}
    words = {v for v in values if not v.isascii()}
    lengths = sorted({len(n) for n in numbers})
    leaks: list[tuple[str, str]] = []
    files = _exposed_files(run)
    assert len(files) > 40
    kinds = {(p.relative_to(run.desk.lake.home).parts[:2], p.suffix) for p in files}
    assert {(("reports", "months"), ".pdf"), (("reports", "datasets"), ".html"), (("reports", "rules"), ".html"), (("reports", "gx"), ".html"), (("reports", "dictionary"), ".html"), (("reports", "dictionary"), ".js")} <= kinds
    for path in files:
        for text in _texts(path):
            for piece in _PIECE.findall(text):
                if piece in numbers or any(piece[i:i + n] in numbers for n in lengths for i in range(len(piece) - n + 1) if n >= 11):
                    leaks.append((path.relative_to(run.desk.lake.home).as_posix(), "number"))
            decoded = text.decode("utf-8", errors="ignore")
            han = set(re.findall(r"[\u3400-\U0003ffff·]{3,}", decoded))
            leaks += [(path.relative_to(run.desk.lake.home).as_posix(), "words") for h in han if h in words]
    assert leaks[:10] == []


def test_the_sweep_would_find_a_leak(run, tmp_path):
    """The sweep itself can fail: a value planted in a log line is seen."""
    con = run.connect()
    value = con.execute("SELECT value FROM personal_values WHERE searchable AND kind = 'resident_id' LIMIT 1").fetchone()[0]
    spoiled = run.desk.lake.reports / "spoiled.log"
    spoiled.write_text(f"row of {value} rejected")
    try:
        try:
            test_a_sweep_over_every_byte_that_others_can_read(run)
        except AssertionError:
            return
        raise AssertionError("a planted leak was not found")
    finally:
        spoiled.unlink()


def test_no_identifier_can_be_rebuilt_from_an_analyst_file(run):
    """A linkage attack with everything one view gives of a person: too many candidates remain, and no cell holds a number."""
    con = duckdb.connect(str(run.desk.lake.database), read_only=True)
    columns = {c for c, in con.execute("SELECT column_name FROM information_schema.columns WHERE table_schema = 'population' AND table_name = 'person'").fetchall()}
    assert {"person_id", "birth_year", "sex_code"} <= columns
    assert not columns & {"id_number", "name", "former_name", "birth_date", "hukou_address", "religion_code", "political_code", "photo_ref"}
    person = con.execute("SELECT hukou_region_code, birth_year, sex_code FROM population.person WHERE birth_year IS NOT NULL AND sex_code = '1' LIMIT 1").fetchone()
    candidates = {f"{person[0]}{person[1]}{month:02d}{day:02d}{n:03d}" for month in range(1, 13) for day in range(1, 29) for n in range(1, 1000, 2)}
    assert len({c + check_character(c) for c in candidates}) > 100_000


def test_every_view_of_an_analyst_holds_no_eighteen_digit_number(run):
    con = duckdb.connect(str(run.desk.lake.database), read_only=True)
    views = con.execute("SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal AND schema_name IN ('population', 'credit', 'legal_entity', 'governance')").fetchall()
    assert len(views) > 20
    for schema, view in views:
        columns = [c for c, kind in con.execute(f"SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = '{schema}' AND table_name = '{view}'").fetchall() if kind == "VARCHAR"]
        number = "(^|[^0-9])[1-8][0-9]{5}(18|19|20)[0-9]{2}(0[1-9]|1[0-2])([0-2][0-9]|3[01])[0-9]{3}[0-9Xx]([^0-9]|$)"
        hits = [f"""count(*) FILTER (WHERE regexp_matches("{c}", '{number}'))""" for c in columns] or ["0"]      # one pass over the view, not one per column
        found = con.execute(f"SELECT {', '.join(hits)} FROM {schema}.{view}").fetchone()
        assert not any(found), (schema, view, [c for c, n in zip(columns, found) if n])
