"""The trial of a new `lake.duckdb` before anybody sees it: every view answers, counts and is described as its manifest says."""
from __future__ import annotations

from typing import Any

import duckdb

from pipelines.settings import WrongUse
from pipelines.sql import name, text
from pipelines.trouble import let_pass

STOPPED = " The release is stopped; the one before stays."
AT_ONCE = 20      # views counted by one statement


class BrokenView(WrongUse):
    """A view of a release is not what its manifest says; the message names the view and the reason."""


def listed(con: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[str, str, str | None]]]:
    """View → its columns: name, type, comment."""
    found: dict[str, list[tuple[str, str, str | None]]] = {}
    for schema, table, *column in con.execute("SELECT schema_name, table_name, column_name, data_type, comment FROM duckdb_columns() WHERE NOT internal "
                                              "ORDER BY schema_name, table_name, column_index").fetchall():
        found.setdefault(f"{schema}.{table}", []).append(tuple(column))
    return found


def smoke(con: duckdb.DuckDBPyConnection, relations: dict[str, Any], selects: set[str]) -> None:
    """Try every view: types and counts as in the manifest, no view more or less, a comment on everything.

    Theme views are bound, not run: their cost must not decide whether a release appears.

    Args:
        relations: those of the manifest, by view.
        selects: the other views.

    Raises:
        BrokenView: any of it fails; every failure is listed.
    """
    errors, found = [], listed(con)
    views = dict(con.execute("SELECT schema_name || '.' || view_name, comment FROM duckdb_views() WHERE NOT internal").fetchall())
    wanted = relations.keys() | selects
    errors += [broken(v, "is missing or not in the manifest") for v in sorted(wanted ^ set(views))]
    for view, relation in relations.items():
        given, declared = [c[:2] for c in found.get(view, ())], [tuple(c[:2]) for c in relation["columns"]]
        if given != declared:
            differ = sorted({f"{c} {t}" for c, t in set(given) ^ set(declared)}) or ["their order"]
            errors.append(broken(view, f"has other columns than the manifest: {', '.join(differ)}"))
    counted = _counted(con, sorted(relations.keys() & views.keys()))
    for view in sorted(wanted & set(views)):
        errors += [broken(view, "has no comment")] if not views[view] else []
        errors += [broken(view, f"has no comment on column {c}") for c, _, words in found[view] if not words]
        errors += _count_error(view, counted[view], relations[view]) if view in relations else []
    if errors:
        raise BrokenView("\n".join(errors))


def _counted(con: duckdb.DuckDBPyConnection, views: list[str]) -> dict[str, int | duckdb.Error]:
    """View → its rows, or why it cannot be read; some are counted by one statement, which takes a third of the time, and one by one where that fails."""
    selects = {view: f"SELECT {text(view)}, count(*) FROM {'.'.join(name(part) for part in view.split('.', 1))}" for view in views}
    found: dict[str, int | duckdb.Error] = {}
    for at in range(0, len(views), AT_ONCE):
        some = views[at:at + AT_ONCE]
        try:
            found |= con.execute(" UNION ALL ".join(selects[view] for view in some)).fetchall()
        except duckdb.Error as error:
            let_pass(error)
            found |= {view: _count(con, selects[view]) for view in some}
    return found


def _count(con: duckdb.DuckDBPyConnection, select: str) -> int | duckdb.Error:
    try:
        return con.execute(select).fetchone()[1]
    except duckdb.Error as error:
        let_pass(error)
        return error


def _count_error(view: str, rows: int | duckdb.Error, relation: dict[str, Any]) -> list[str]:
    if isinstance(rows, duckdb.Error):
        return [broken(view, f"cannot be read: {tell(rows)}")]
    if rows != relation["rows"]:
        return [broken(view, f"has {rows:,} rows, the manifest says {relation['rows']:,}")]
    return []


def broken(view: str, why: str) -> str:
    """What is said of a view that stops the release."""
    return f"View {view} {why}.{STOPPED}"


def tell(error: duckdb.Error) -> str:
    """The engine's words where they are about names; errors of values quote data and give their class only."""
    if isinstance(error, (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)):
        return str(error).splitlines()[0]
    return type(error).__name__
