"""The governance tables and views of this moment: what a release shows analysts, computed from the ledger now.

Pages and published views are made by the same SQL (`warehouse/views/governance`), so that a number on a page is the number in `lake.duckdb`.
Nothing is written; the addresses of quarantined records (`governance.quarantine`) are not read.
"""
from __future__ import annotations

import duckdb

from pipelines import governance, release, themes
from pipelines.compiler import Plan
from pipelines.contract import datasets
from pipelines.desk import Desk
from pipelines.semantics import reference
from pipelines.sql import connect as open_database, name

DIVISIONS = ("admin_division", "admin_division_obsolete")


def connect(desk: Desk, plans: dict[str, Plan] | None = None, once: bool = False) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with schema `governance` filled from contracts and ledger, and the score views over it.

    Args:
        plans: the plan of every dataset; read from the contracts when it is not given.
        once: compute every view once and keep it as a table, for many questions.
    """
    plans = plans or {d.id: desk.plan(d.id) for d in datasets(desk.project) if d.status != "draft"}
    con = open_database(alone=True)
    con.execute("CREATE SCHEMA governance; CREATE SCHEMA reference")
    for one in reference.declared(desk.project):
        if one.list in DIVISIONS:
            reference.load_list(con, desk.project, one)
    newest = release.last(desk.lake)
    rows = governance.declared_rows(desk.project, plans, newest["relations"] if newest else {}) | governance.ledger_tables(desk.ledger)
    for table, found in rows.items():
        with governance.typed(con, governance.TABLES[table], found) as select:
            con.execute(f"CREATE TABLE governance.{name(table)} AS {select}")
    for view in themes.themes(desk.project):
        if view.schema == themes.GOVERNANCE:
            if once:
                con.execute(f"CREATE TABLE {name(view.schema)}.{name(view.name)} AS {view.sql}")
            else:
                themes.create(con, view.facts())
    return con
