"""One DuckDB file of views, made from a manifest alone: what analysts open (`lake.duckdb`), and every kept release.

Views name absolute files and every column, so nothing changes under a reader: no glob, no relative path, no `*`.
The file is built beside, tried, and then renamed; a view that does not bind, counts otherwise than its manifest or
lacks a comment stops the build, and the file that was there stays.
"""
from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from pipelines import changes, durable, parts, prepared, themes
from pipelines.settings import Lake, WrongUse
from pipelines.sql import connect, name, text
from pipelines.trouble import BROKEN, MachineTrouble, let_pass

STOPPED = " The release is stopped; the one before stays."


class BrokenView(WrongUse):
    """A view of a release is not what its manifest says; the message names the view and the reason."""


def build(manifest: dict[str, Any], lake: Lake, path: Path, mode: int = 0o644, root: Any = None, prepare: Callable[[duckdb.DuckDBPyConnection], None] | None = None) -> None:
    """Make the database of `manifest` at `path`, replacing what is there once the new one has been tried.

    Args:
        manifest: its `relations`, `macros` and `views`, as `release` writes them; relative file paths start from the lake's releases.
        mode: file mode of the database.
        root: the address that they start from instead, a value that takes `/` as a path does.
        prepare: lets a connection read there.

    Raises:
        BrokenView: a view does not bind or disagrees with the manifest.
    """
    beside = path.with_name(f".{path.name}.part")
    unfinished(path)
    shutil.copyfile(_common(manifest, lake, root, prepare), beside)
    con = connect(beside)
    try:
        if prepare:
            prepare(con)
        con.execute("BEGIN")
        _create(con, manifest, root or lake.releases)
        con.execute("COMMIT")
        smoke(con, manifest)
        con.execute("CHECKPOINT")      # closing would do it too, but says nothing when the disk is full
    finally:
        con.close()
    _check_whole(beside, manifest)
    beside.chmod(mode)
    durable.replace(beside, path)


def _check_whole(path: Path, manifest: dict[str, Any]) -> None:
    """All views are in the file itself, for a new reader.

    Raises:
        MachineTrouble: they are not: the disk did not take them.
    """
    with connect(path, read_only=True) as con:
        views = con.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchone()[0]
    if Path(f"{path}.wal").exists() or views != len(manifest["relations"]) + len(_made(manifest, path)):
        raise MachineTrouble(BROKEN)


def unfinished(path: Path) -> None:
    """Remove what a kill left of an earlier try to make the database at `path`."""
    for leftover in path.parent.glob(f".{path.name}.part*"):
        leftover.unlink()


def point(source: Path, target: Path) -> None:
    """Put a copy of the tried database `source` in the place of `target` in one step; open readers keep the old one."""
    beside = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, beside)
    shutil.copymode(source, beside)
    durable.replace(beside, target)


def _common(manifest: dict[str, Any], lake: Lake, root: Any, prepare: Callable[[duckdb.DuckDBPyConnection], None] | None) -> Path:
    """A database with the code lists' views and the macros, which seldom change: binding 300 macros takes half a second."""
    relations, macros = {v: r for v, r in manifest["relations"].items() if r.get("kind") == "reference"}, manifest["macros"]

    def make(con: duckdb.DuckDBPyConnection) -> None:
        if prepare:
            prepare(con)
        con.execute("BEGIN")
        _show(con, relations, root or lake.releases)
        for statement in macros:
            con.execute(statement)
        con.execute("COMMIT")

    return prepared.database(lake.staging, "stored" if root else "views", [str(root or lake.releases), relations, macros], make)


def _show(con: duckdb.DuckDBPyConnection, relations: dict[str, Any], root: Path) -> None:
    """A view with comments over the files of each relation."""
    for view, relation in relations.items():
        schema, _, table = view.partition(".")
        quoted = f"{name(schema)}.{name(table)}"
        columns = ", ".join(name(c) for c, _, _ in relation["columns"])
        rows = parts.select(*([root / f["path"] for f in relation.get(which, ())] for which in ("files", "superseded")), columns=columns)
        statements = [f"CREATE SCHEMA IF NOT EXISTS {name(schema)}",
                      f"CREATE VIEW {quoted} AS {rows}",
                      f"COMMENT ON VIEW {quoted} IS {text(relation['comment'])}"]
        statements += [f"COMMENT ON COLUMN {quoted}.{name(c)} IS {text(words)}" for c, _, words in relation["columns"]]
        try:
            con.execute(";".join(statements))
        except duckdb.Error as error:
            let_pass(error)
            raise BrokenView(_broken(view, f"does not bind: {_tell(error)}")) from None


def _create(con: duckdb.DuckDBPyConnection, manifest: dict[str, Any], root: Path) -> None:
    """What `_common` has not: the datasets, what changed, the views over them."""
    _show(con, {v: r for v, r in manifest["relations"].items() if r.get("kind") != "reference"}, root)
    for dataset_id, relation in manifest["relations"].items():
        for statement in changes.macro(dataset_id, relation) if "changes" in manifest and relation["kind"] == "dataset" else ():
            con.execute(statement)
    for theme in _made(manifest, root):
        try:
            themes.create(con, theme)
        except WrongUse as error:
            raise BrokenView(f"{error}{STOPPED}") from None


def _made(manifest: dict[str, Any], root: Path) -> list[dict[str, Any]]:
    """The views that are a SELECT: what changed, histories, themes."""
    changed = [changes.view(dataset_id, sides, root) for dataset_id, sides in manifest.get("changes", {}).items()]
    return [*changed, *manifest.get("histories", ()), *manifest["views"]]


def smoke(con: duckdb.DuckDBPyConnection, manifest: dict[str, Any]) -> None:
    """Try every view: types and counts as in the manifest, no view more or less, a comment on everything.

    Theme views are bound, not run: their cost must not decide whether a release appears.

    Raises:
        BrokenView: any of it fails; every failure is listed.
    """
    errors = []
    found: dict[str, list[tuple[str, str, str | None]]] = {}
    for schema, table, column, kind, words in con.execute(
            "SELECT schema_name, table_name, column_name, data_type, comment FROM duckdb_columns() WHERE NOT internal "
            "ORDER BY schema_name, table_name, column_index").fetchall():
        found.setdefault(f"{schema}.{table}", []).append((column, kind, words))
    views = dict(con.execute("SELECT schema_name || '.' || view_name, comment FROM duckdb_views() WHERE NOT internal").fetchall())
    wanted = set(manifest["relations"]) | {f"{t['schema']}.{t['name']}" for t in _made(manifest, Path())}
    errors += [_broken(v, "is missing or not in the manifest") for v in sorted(wanted ^ set(views))]
    for view, relation in manifest["relations"].items():
        given, declared = [c[:2] for c in found.get(view, ())], [tuple(c[:2]) for c in relation["columns"]]
        if given != declared:
            differ = sorted({f"{c} {t}" for c, t in set(given) ^ set(declared)}) or ["their order"]
            errors.append(_broken(view, f"has other columns than the manifest: {', '.join(differ)}"))
    for view in sorted(wanted & set(views)):
        errors += [_broken(view, "has no comment")] if not views[view] else []
        errors += [_broken(view, f"has no comment on column {c}") for c, _, words in found[view] if not words]
        errors += _count_error(con, view, manifest["relations"][view]) if view in manifest["relations"] else []
    if errors:
        raise BrokenView("\n".join(errors))


def _count_error(con: duckdb.DuckDBPyConnection, view: str, relation: dict[str, Any]) -> list[str]:
    schema, _, table = view.partition(".")
    try:
        rows = con.execute(f"SELECT count(*) FROM {name(schema)}.{name(table)}").fetchone()[0]
    except duckdb.Error as error:
        let_pass(error)
        return [_broken(view, f"cannot be read: {_tell(error)}")]
    if rows != relation["rows"]:
        return [_broken(view, f"has {rows:,} rows, the manifest says {relation['rows']:,}")]
    return []


def _broken(view: str, why: str) -> str:
    return f"View {view} {why}.{STOPPED}"


def _tell(error: duckdb.Error) -> str:
    """The engine's words where they are about names; errors of values quote data and give their class only."""
    if isinstance(error, (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)):
        return str(error).splitlines()[0]
    return type(error).__name__
