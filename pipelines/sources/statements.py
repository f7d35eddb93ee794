"""The SQL that is sent to a source, built with SQLAlchemy Core: each dialect's text is its own compiler's.

Every cell is made text by the source itself, dates in ISO form, so that legacy dirt ('0000-00-00', odd decimals) arrives
as it is. A range is half open, [low, high), on one column; which rows it holds depends on that column's own comparison only,
so neighbouring ranges neither share nor lose a row, whatever the collation.
"""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mssql, mysql, oracle, postgresql

_ORACLE_DATE, _ORACLE_TIME = "YYYY-MM-DD HH24:MI:SS", "YYYY-MM-DD HH24:MI:SS.FF6"
_ORACLE_PLAIN = "NLS_NUMERIC_CHARACTERS='.,'"
_BYTES = (sa.LargeBinary, sa.BINARY, sa.VARBINARY, mysql.BIT, mysql.TINYBLOB, mysql.MEDIUMBLOB, mysql.LONGBLOB, mssql.IMAGE, mssql.TIMESTAMP)


@dataclass(frozen=True)
class Range:
    """[low, high) of the column a table is read by. None: open. `nulls`: the rows without a value instead."""

    low: Any = None
    high: Any = None
    nulls: bool = False


def table(name: str, columns: list[dict[str, Any]]) -> sa.Table:
    """`[schema.]table` with its reflected columns."""
    schema, _, plain = name.rpartition(".")
    return sa.Table(plain, sa.MetaData(), *(sa.Column(c["name"], c["type"], nullable=c.get("nullable", True)) for c in columns), schema=schema or None)


def rows(of: sa.Table, columns: list[str], dialect: str, by: str | None, within: Range) -> sa.Select:
    """The rows of one range, these columns as text; NULL stays NULL."""
    return _within(sa.select(*(as_text(of.c[c], dialect).label(f"c{i}") for i, c in enumerate(columns))).select_from(of), of, by, within)


def counted(of: sa.Table, by: str | None, within: Range) -> sa.Select:
    """How many rows a range holds."""
    return _within(sa.select(sa.func.count()).select_from(of), of, by, within)


def left(of: sa.Table, by: str | None, low: Any, nulls: bool) -> sa.Select:
    """How many rows are to be read: from `low` on, with or without those that have no value there."""
    query = sa.select(sa.func.count()).select_from(of)
    if by is None or (low is None and nulls):
        return query
    column = of.c[by]
    wanted = column.is_not(None) if low is None else column >= _bound(low, column)
    return query.where(sa.or_(wanted, column.is_(None)) if nulls else wanted)


def bound(of: sa.Table, by: str, low: Any, skip: int) -> sa.Select:
    """The value `skip` rows above `low`, and always above `low` itself: rows that tie are never divided."""
    column = of.c[by]
    above = column.is_not(None) if low is None else column > _bound(low, column)
    return sa.select(column).where(above).order_by(column).offset(skip).limit(1)


def greatest(of: sa.Table, column: str, clock: datetime) -> sa.Select:
    """The greatest value of a column, and of dates and times the greatest that has come: a row dated 9999 must not hide what follows."""
    found = of.c[column]
    query = sa.select(sa.func.max(found))
    if isinstance(found.type, sa.DateTime):
        return query.where(found <= _bound(clock if found.type.timezone else clock.replace(tzinfo=None), found))
    return query.where(found <= _bound(clock.date(), found)) if isinstance(found.type, sa.Date) else query


def _within(query: sa.Select, of: sa.Table, by: str | None, within: Range) -> sa.Select:
    if by is None:
        return query
    column = of.c[by]
    if within.nulls:
        return query.where(column.is_(None))
    if within.low is None and within.high is None:
        return query.where(column.is_not(None))
    if within.low is not None:
        query = query.where(column >= _bound(within.low, column))
    return query if within.high is None else query.where(column < _bound(within.high, column))


def _bound(value: Any, column: sa.Column) -> sa.BindParameter:
    """A value of a column, bound as the column's type."""
    return sa.bindparam(None, value, type_=column.type)


def as_text(column: sa.Column, dialect: str) -> sa.ColumnElement:
    """A column as the text that the lake reads."""
    return {"postgresql": _postgresql, "mysql": _mysql, "oracle": _oracle, "sqlserver": _sqlserver}[dialect](column, column.type)


def _postgresql(column: sa.Column, kind: sa.types.TypeEngine) -> sa.ColumnElement:
    return sa.func.encode(column, "hex") if isinstance(kind, (sa.LargeBinary, postgresql.BYTEA)) else sa.cast(column, sa.Text)


def _mysql(column: sa.Column, kind: sa.types.TypeEngine) -> sa.ColumnElement:
    if isinstance(kind, _BYTES):
        return sa.cast(sa.func.hex(column), mysql.CHAR(charset="utf8mb4"))
    return sa.cast(column, mysql.CHAR(charset="utf8mb4"))


def _oracle(column: sa.Column, kind: sa.types.TypeEngine) -> sa.ColumnElement:
    if isinstance(kind, (oracle.TIMESTAMP, sa.TIMESTAMP)):
        zoned = kind.timezone or getattr(kind, "local_timezone", False)
        return sa.func.to_char(column.op("AT TIME ZONE")(sa.literal_column("'Asia/Shanghai'")) if zoned else column, _literal(_ORACLE_TIME))
    if isinstance(kind, (sa.Date, sa.DateTime)):
        return sa.func.to_char(column, _literal(_ORACLE_DATE))
    if isinstance(kind, (sa.Numeric, sa.Float, sa.Integer)):
        return sa.func.to_char(column, _literal("TM9"), _literal(_ORACLE_PLAIN))
    if isinstance(kind, (sa.LargeBinary, sa.BINARY, sa.VARBINARY, oracle.RAW)):
        return sa.func.rawtohex(column)
    return column if isinstance(kind, sa.String) else sa.func.to_char(column)


def _sqlserver(column: sa.Column, kind: sa.types.TypeEngine) -> sa.ColumnElement:
    """CONVERT styles: 23 and 121 are ISO, 2 is hexadecimal or money to four places, 3 keeps every digit of a float."""
    if isinstance(kind, (mssql.MONEY, mssql.SMALLMONEY, *_BYTES)):
        style = 2
    elif isinstance(kind, (sa.Float, mssql.REAL)):
        style = 3
    elif isinstance(kind, sa.Date):
        style = 23
    elif isinstance(kind, (sa.DateTime, sa.Time, mssql.DATETIMEOFFSET)):
        style = 121
    else:
        return sa.cast(column, mssql.NVARCHAR("max"))
    return sa.func.convert(sa.literal_column("NVARCHAR(MAX)"), column, sa.literal_column(str(style)))


def _literal(text: str) -> sa.ColumnElement:
    return sa.literal_column("'" + text.replace("'", "''") + "'")
