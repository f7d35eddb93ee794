"""Published tables made by hand in memory, with the theme views over them: a planted case costs milliseconds, not a release."""
from __future__ import annotations

import datetime
from typing import Any

from pipelines import compiler, governance, masks, themes
from pipelines.contract import datasets
from pipelines.semantics import reference
from pipelines.settings import Project
from pipelines.sql import connect, name, names
from tests.support import REPOSITORY

AS_OF = datetime.date(2026, 11, 1)
PROJECT = Project(REPOSITORY)


class Hand:
    """Every published table, empty, with every theme view over it; `put` fills tables, `clear` empties them."""

    def __init__(self) -> None:
        self.con = connect()
        reference.load(self.con, PROJECT)
        reference.load_macros(self.con, PROJECT)
        plans = [compiler.plan(d, ()) for d in datasets(PROJECT)]
        self.tables = {p.dataset.id: [(c.name, c.type) for c in masks.published(p)] for p in plans}
        for table, columns in (self.tables | {f"governance.{t}": list(found.columns) for t, found in governance.TABLES.items()}).items():
            schema, _, only = table.partition(".")
            self.con.execute(f"CREATE SCHEMA IF NOT EXISTS {name(schema)}; "
                             f"CREATE TABLE {name(schema)}.{name(only)} ({', '.join(f'{name(c)} {kind}' for c, kind in columns)})")
        for theme in themes.themes(PROJECT):
            themes.create(self.con, theme.facts())
        self.clear()

    def clear(self) -> None:
        """Empty every dataset; each is as of `AS_OF` again."""
        for table in (*self.tables, "governance.datasets", "governance.batches"):
            self.con.execute(f"DELETE FROM {table}")
        self.put("governance.datasets", *({"dataset": d, "as_of": AS_OF} for d in self.tables))

    def put(self, table: str, *rows: dict[str, Any]) -> None:
        """Add rows (column → value; other columns are NULL)."""
        for row in rows:
            self.con.execute(f"INSERT INTO {table} ({names(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values()))

    def fill(self, table: str, columns: str, rows: list[tuple]) -> None:
        """Add many rows of these columns at once."""
        listed = ", ".join("(" + ", ".join("?" * len(rows[0])) + ")" for _ in rows)
        self.con.execute(f"INSERT INTO {table} ({columns}) VALUES {listed}", [v for row in rows for v in row])

    def ask(self, select: str) -> list[tuple]:
        """The rows of a SELECT."""
        return self.con.execute(select).fetchall()

    def close(self) -> None:
        """End it."""
        self.con.close()
