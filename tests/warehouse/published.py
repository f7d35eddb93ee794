"""What analysts see of the sample, as plain Python: for answers that owe nothing to SQL."""
from __future__ import annotations

import calendar
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date
from typing import Any

import duckdb


def rows(con: duckdb.DuckDBPyConnection, table: str) -> list[dict[str, Any]]:
    """A published table or view as plain Python."""
    found = con.execute(f"SELECT * FROM {table}")
    columns = [d[0] for d in found.description]
    return [dict(zip(columns, row)) for row in found.fetchall()]


class Sample:
    """The published rows of the sample, read once per dataset, and what the views say."""

    def __init__(self, con: duckdb.DuckDBPyConnection):
        self.con, self._read = con, {}

    def __call__(self, table: str) -> list[dict]:
        if table not in self._read:
            self._read[table] = rows(self.con, table)
        return self._read[table]

    def said(self, view: str, *columns: str) -> Counter:
        """The rows of a view, these columns only, each with how often it stands there."""
        return Counter(tuple(r[c] for c in columns) for r in rows(self.con, view))

    @property
    def registered(self) -> list[dict]:
        return [p for p in self("population.person") if p["cancel_flag"] != "1" and p["death_year"] is None and p["moveout_year"] is None]


def after(day: date | None, months: int) -> date | None:
    """The same day `months` later, or the last one of a shorter month."""
    if day is None:
        return None
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def grouped(found: Iterable[dict[str, Any]], *keys: str) -> dict[Any, list[dict[str, Any]]]:
    """Rows by the value of one column, or of several as a tuple."""
    made = defaultdict(list)
    for row in found:
        made[tuple(row[k] for k in keys) if len(keys) > 1 else row[keys[0]]].append(row)
    return made


def ends(*days: date | None) -> date | None:
    """The earliest day given."""
    return min((d for d in days if d is not None), default=None)
