"""One DuckDB file of views, made from a manifest alone: what analysts open (`lake.duckdb`), and every kept release.

Views name absolute files and every column, so nothing changes under a reader: no glob, no relative path, no `*`.
The file is built beside, tried, and then renamed; a view that does not bind, counts otherwise than its manifest or
lacks a comment stops the build, and the file that was there stays.
"""
from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipelines import changes, durable, layout, parts, prepared, themes
from pipelines.copying import digest
from pipelines.settings import Lake, WrongUse
from pipelines.smoke import STOPPED, BrokenView, broken, listed, smoke, tell
from pipelines.sql import connect, name, text
from pipelines.trouble import BROKEN, MachineTrouble, let_pass
from pipelines.version import code_version


@dataclass(frozen=True)
class Made:
    """A view or a macro: the statement that creates it and those that comment it. `theme`: of a view that is a SELECT, for `themes.create`."""

    kind: str
    name: str
    create: str
    comments: tuple[str, ...]
    theme: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        return f"{self.kind} {self.name}"

    def said(self) -> list[str]:
        """The digests of its statements."""
        return [hashlib.sha256(statement.encode()).hexdigest()[:16] for statement in (self.create, *self.comments)]


class Series:
    """Databases that are made one after the other and hardly differ: staging/.built-<name>.json says where the last one is, what its bytes and statements are.

    It is believed only of the very file it tells of, for the same columns of all relations, SELECTs of all views, program and engine. Without it a database is made from nothing.
    """

    def __init__(self, lake: Lake, called: str | None, state: list[Any]):
        self.note = lake.staging / f".built-{called}.json" if called else None
        self.state = hashlib.sha256(repr([duckdb.__version__, code_version(), str(lake.releases), state]).encode()).hexdigest()
        self.file: Path | None = None
        self.known: dict[str, list[str]] = {}
        with suppress(OSError, ValueError, KeyError, TypeError):
            said = json.loads(self.note.read_text("utf-8")) if self.note else {"state": None}
            if said["state"] == self.state and digest(Path(said["file"]))[0] == said["sha256"]:
                self.file, self.known = Path(said["file"]), said["views"]

    def keep(self, path: Path, made: list[Made]) -> None:
        """The database at `path` is the last one."""
        if self.note:
            said = {"state": self.state, "file": str(path), "sha256": digest(path)[0], "views": {one.key: one.said() for one in made}}
            durable.write(self.note, json.dumps(said), 0o600)


def build(manifest: dict[str, Any], lake: Lake, path: Path, mode: int = 0o644, kept: str | None = None, root: Any = None,
          prepare: Callable[[duckdb.DuckDBPyConnection], None] | None = None) -> None:
    """Make the database of `manifest` at `path`, replacing what is there once the new one has been tried; arguments and errors of `made`."""
    made(manifest, lake, path, mode, kept, root, prepare)()


def made(manifest: dict[str, Any], lake: Lake, path: Path, mode: int = 0o644, kept: str | None = None, root: Any = None,
         prepare: Callable[[duckdb.DuckDBPyConnection], None] | None = None) -> Callable[[], None]:
    """Make the database of `manifest` beside `path` and try it; returns what puts it in its place.

    Args:
        manifest: its `relations`, `macros` and `views`, as `release` writes them; relative file paths start from the lake's releases.
        mode: file mode of the database.
        kept: one of a series of databases that hardly differ: it is made from a copy of the last one of this name, if that is what it was.
        root: the address that they start from instead, a value that takes `/` as a path does.
        prepare: lets a connection read there.

    Raises:
        BrokenView: a view does not bind or disagrees with the manifest.
    """
    beside, common = path.with_name(f".{path.name}.part"), _common(manifest, lake, root, prepare)
    unfinished(path)
    wanted, series = list(_wanted(manifest, root or lake.releases)), Series(lake, kept, [common.name, _columns(manifest)])
    shutil.copyfile(series.file or common, beside)
    con = connect(beside, alone=True)
    try:
        if prepare:
            prepare(con)
        con.execute("BEGIN")
        _bring(con, wanted, series.known)
        con.execute("COMMIT")
        smoke(con, manifest["relations"], {f"{t['schema']}.{t['name']}" for t in _made(manifest, Path())})
        con.execute("CHECKPOINT")      # closing would do it too, but says nothing when the disk is full
    finally:
        con.close()
    _check_whole(beside, manifest)
    beside.chmod(mode)

    def put() -> None:
        durable.replace(beside, path)
        series.keep(path, wanted)

    return put


def _check_whole(path: Path, manifest: dict[str, Any]) -> None:
    """All views are in the file itself, for a new reader.

    Raises:
        MachineTrouble: they are not: the disk did not take them.
    """
    with connect(path, read_only=True, alone=True) as con:
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
    _bring(con, [_view(*one, root) for one in relations.items()], {})


def _view(view: str, relation: dict[str, Any], root: Path) -> Made:
    """The view with comments over the files of a relation."""
    schema, _, table = view.partition(".")
    quoted, columns = f"{name(schema)}.{name(table)}", ", ".join(name(c) for c, _, _ in relation["columns"])
    rows = parts.select(*([root / f["path"] for f in relation.get(which, ())] for which in ("files", "superseded")), columns=columns,
                        estimate=layout.estimate(relation["rows"]) if relation.get("superseded") else None)
    comments = [f"COMMENT ON VIEW {quoted} IS {text(relation['comment'])}"]
    comments += [f"COMMENT ON COLUMN {quoted}.{name(c)} IS {text(words)}" for c, _, words in relation["columns"]]
    return Made("VIEW", view, f"CREATE SCHEMA IF NOT EXISTS {name(schema)}; CREATE VIEW {quoted} AS {rows}", tuple(comments))


def _wanted(manifest: dict[str, Any], root: Path) -> Iterator[Made]:
    """What `_common` has not: the datasets, what changed, the views over them."""
    yield from (_view(v, r, root) for v, r in manifest["relations"].items() if r.get("kind") != "reference")
    for dataset_id, relation in manifest["relations"].items():
        if "changes" in manifest and relation["kind"] == "dataset":
            create, *comments = changes.macro(dataset_id, relation)
            yield Made("MACRO TABLE", f"{dataset_id}_since", create, tuple(comments))
    for theme in _made(manifest, root):
        create, *comments = themes.statements(theme)
        yield Made("VIEW", f"{theme['schema']}.{theme['name']}", create, tuple(comments), theme)


def _bring(con: duckdb.DuckDBPyConnection, wanted: list[Made], known: dict[str, list[str]]) -> None:
    """Bring a database that holds `known` to `wanted`, statement by statement."""
    for gone in known.keys() - {one.key for one in wanted}:
        _drop(con, gone)
    bound: list[Made] = []
    for one in wanted:
        before, said = known.get(one.key), one.said()
        if before and before[0] == said[0] and len(before) == len(said):
            for comment in (comment for comment, old, new in zip(one.comments, before[1:], said[1:]) if old != new):
                con.execute(comment)
            continue
        if before:
            _drop(con, one.key)
        try:
            if one.theme:
                themes.bind(con, one.theme)
                bound.append(one)
            else:
                con.execute(";".join((one.create, *one.comments)))
        except duckdb.Error as error:
            let_pass(error)
            raise BrokenView(broken(one.name, f"does not bind: {tell(error)}")) from None
        except WrongUse as error:
            raise BrokenView(f"{error}{STOPPED}") from None
    _describe(con, bound)


def _describe(con: duckdb.DuckDBPyConnection, bound: list[Made]) -> None:
    """Hold views that are a SELECT to their headers, and comment them; their columns are asked for once, because to describe one is to bind it again."""
    given = listed(con) if bound else {}
    for one in bound:
        try:
            themes.hold(one.theme, [c for c, _, _ in given.get(one.name, ())])
        except WrongUse as error:
            raise BrokenView(f"{error}{STOPPED}") from None
    if bound:
        con.execute(";".join(comment for one in bound for comment in one.comments))


def _drop(con: duckdb.DuckDBPyConnection, key: str) -> None:
    kind, _, view = key.rpartition(" ")
    schema, _, table = view.partition(".")
    con.execute(f"DROP {kind} {name(schema)}.{name(table)}")


def _columns(manifest: dict[str, Any]) -> list[Any]:
    """The columns that views may read: a view over others keeps what it was bound to."""
    themes_ = [(t["schema"], t["name"], t["sql"]) for t in manifest["views"]], [(t["name"], [c for c, _ in t["columns"]]) for t in manifest.get("histories", ())]
    return [*themes_, sorted((view, [tuple(c[:2]) for c in relation["columns"]]) for view, relation in manifest["relations"].items())]


def _made(manifest: dict[str, Any], root: Path) -> list[dict[str, Any]]:
    """The views that are a SELECT: what changed, histories, themes."""
    changed = [changes.view(dataset_id, sides, root) for dataset_id, sides in manifest.get("changes", {}).items()]
    return [*changed, *manifest.get("histories", ()), *manifest["views"]]
