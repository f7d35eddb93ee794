"""What each engine is asked. Oracle and SQL Server do not run here: their statements are read, not sent."""
from __future__ import annotations

import datetime as dt
import re

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mssql, mysql, oracle, postgresql

from pipelines.sources import connecting, statements
from pipelines.sources.connecting import Cut, Refused, told
from pipelines.sources.declaration import DIALECTS, Database
from pipelines.sources.reading import packed, unpacked
from pipelines.sources.statements import Range

COMPILERS = {name: sa.make_url(f"{connecting._DRIVERS[name]}://").get_dialect()() for name in DIALECTS}


def _sql(query: sa.Select, dialect: str) -> str:
    return re.sub(r"\s+", " ", str(query.compile(dialect=COMPILERS[dialect])))


def _table(*kinds: sa.types.TypeEngine) -> sa.Table:
    return statements.table("gov.deaths", [{"name": f"x{i}", "type": kind} for i, kind in enumerate(kinds)])


@pytest.mark.parametrize(("dialect", "kind", "text"), [
    ("postgresql", postgresql.TIMESTAMP(), "CAST(gov.deaths.x0 AS TEXT)"), ("postgresql", postgresql.BYTEA(), "encode(gov.deaths.x0, "),
    ("mysql", mysql.DATETIME(), "CAST(gov.deaths.x0 AS CHAR CHARACTER SET utf8mb4)"), ("mysql", mysql.BLOB(), "CAST(hex(gov.deaths.x0) AS CHAR"),
    ("oracle", oracle.DATE(), "to_char(gov.deaths.x0, 'YYYY-MM-DD HH24:MI:SS')"), ("oracle", oracle.TIMESTAMP(), "to_char(gov.deaths.x0, 'YYYY-MM-DD HH24:MI:SS.FF6')"),
    ("oracle", oracle.TIMESTAMP(timezone=True), "to_char(gov.deaths.x0 AT TIME ZONE 'Asia/Shanghai', 'YYYY-MM-DD HH24:MI:SS.FF6')"),
    ("oracle", oracle.NUMBER(18, 2), "to_char(gov.deaths.x0, 'TM9', 'NLS_NUMERIC_CHARACTERS=''.,''')"), ("oracle", oracle.VARCHAR2(18), "SELECT gov.deaths.x0 AS c0"),
    ("oracle", oracle.CLOB(), "SELECT gov.deaths.x0 AS c0"), ("oracle", oracle.RAW(16), "rawtohex(gov.deaths.x0)"),
    ("sqlserver", mssql.DATETIME(), "convert(NVARCHAR(MAX), gov.deaths.x0, 121)"), ("sqlserver", mssql.DATETIME2(), "convert(NVARCHAR(MAX), gov.deaths.x0, 121)"),
    ("sqlserver", mssql.DATE(), "convert(NVARCHAR(MAX), gov.deaths.x0, 23)"), ("sqlserver", mssql.MONEY(), "convert(NVARCHAR(MAX), gov.deaths.x0, 2)"),
    ("sqlserver", mssql.FLOAT(), "convert(NVARCHAR(MAX), gov.deaths.x0, 3)"), ("sqlserver", mssql.VARBINARY(), "convert(NVARCHAR(MAX), gov.deaths.x0, 2)"),
    ("sqlserver", mssql.NVARCHAR(20), "CAST(gov.deaths.x0 AS NVARCHAR(max))"), ("sqlserver", mssql.BIT(), "CAST(gov.deaths.x0 AS NVARCHAR(max))"),
])
def test_every_cell_is_text_made_by_the_source(dialect, kind, text):
    assert text in _sql(statements.rows(_table(kind), ["x0"], dialect, None, Range()), dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_ranges_are_half_open_bound_and_never_compare_tuples(dialect):
    table = _table(sa.String(20), sa.Integer())
    both = _sql(statements.rows(table, ["x1"], dialect, "x0", Range("a'--", "b")), dialect)
    assert re.search(r"WHERE gov\.deaths\.x0 >= \S+ AND gov\.deaths\.x0 < \S+$", both) and "--" not in both
    assert re.search(r"WHERE gov\.deaths\.x0 >= \S+$", _sql(statements.rows(table, ["x1"], dialect, "x0", Range("a")), dialect))
    assert _sql(statements.rows(table, ["x1"], dialect, "x0", Range(nulls=True)), dialect).endswith("x0 IS NULL")
    assert _sql(statements.rows(table, ["x1"], dialect, "x0", Range()), dialect).endswith("x0 IS NOT NULL")
    bound = _sql(statements.bound(table, "x0", "a", 99), dialect)
    assert re.search(r"x0 > \S+", bound) and "ORDER BY gov.deaths.x0" in bound
    assert {"postgresql": "OFFSET", "mysql": "LIMIT", "oracle": "FETCH FIRST", "sqlserver": "ROW_NUMBER"}[dialect] in bound


@pytest.mark.parametrize(("dialect", "begin"), [
    ("postgresql", "REPEATABLE READ READ ONLY"), ("mysql", "WITH CONSISTENT SNAPSHOT, READ ONLY"), ("oracle", "SET TRANSACTION READ ONLY"),
    ("sqlserver", "ISOLATION LEVEL SNAPSHOT")])
def test_every_session_is_one_snapshot(dialect, begin):
    assert begin in connecting._BEGIN.get(dialect, "") + " ".join(connecting._SESSION[dialect])
    words = " ".join([connecting._BEGIN.get(dialect, ""), *connecting._SESSION[dialect]]).upper()
    assert not re.search(r"\b(INSERT|UPDATE|DELETE|CREATE|DROP|GRANT|INTO)\b", words)


class _Driver(Exception):
    """What a driver raises: a number, and a text that must not be passed on."""

    sqlstate = None


@pytest.mark.parametrize(("dialect", "code", "kind", "words"), [
    ("oracle", 1017, Refused, "refused the login"), ("oracle", 942, Refused, "has no table"), ("oracle", 1031, Refused, "grant SELECT"), ("oracle", 3113, Cut, "ended"),
    ("oracle", 1555, Cut, "ended"), ("sqlserver", 18456, Refused, "refused the login"), ("sqlserver", 229, Refused, "grant SELECT"), ("sqlserver", 208, Refused, "has no table"),
    ("sqlserver", 3952, Refused, "ALLOW_SNAPSHOT_ISOLATION"), ("sqlserver", 20047, Cut, "ended"), ("mysql", 1045, Refused, "refused the login"), ("mysql", 2013, Cut, "ended"),
    ("oracle", 904, Refused, "cannot carry out a statement")])
def test_errors_are_told_by_kind_and_never_by_text(dialect, code, kind, words):
    error = told(sa.exc.DBAPIError("SELECT secret", None, _Driver(code, "user x at 10.0.0.1: secret")), Database(dialect, "office", "t", "full"))
    assert type(error) is kind and words in str(error) and "secret" not in str(error) and "10.0.0.1" not in str(error)


@pytest.mark.parametrize("value", [1, -3.5, "键'", b"\x00\xff", dt.datetime(2026, 1, 1, 2, 3, 4, 5), dt.date(2026, 1, 1), __import__("decimal").Decimal("1.10"),
                                   __import__("uuid").UUID(int=5), dt.datetime(2026, 1, 1, tzinfo=dt.UTC), None])
def test_where_a_range_ended_survives_a_restart(value):
    import json

    assert unpacked(json.loads(json.dumps(packed(value)))) == value and type(unpacked(packed(value))) is type(value)
