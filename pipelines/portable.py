"""`lake-portable.duckdb`: a role's database with the tables inside, for desktops, Windows and networks without the lake.

It is a copy of the role's file in which every view over Parquet has become a table of the same name, columns and comments; views over views and
macros stay what they are. Built beside and renamed; the table `main.portable` says what it is, and only a file that has it is ever overwritten.
"""
from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

from pipelines import durable, exports, roles
from pipelines.desk import Desk
from pipelines.ledger import now
from pipelines.settings import Lake, WrongUse
from pipelines.sql import connect, name, text
from pipelines.trouble import let_pass

MARK = "portable"
WORDS = {"lake": "湖编号 — Id of the lake", "release": "发布号 — Release", "role": "角色 — Role", "made_for": "领取人 — Made for",
         "purpose": "用途 — Purpose", "made_at": "生成时间 — When it was made (UTC)"}


def make(desk: Desk, to: Path, who: str, purpose: str, grant: str | None = None) -> dict[str, Any]:
    """Write the portable file of a role, in place of an earlier one.

    Args:
        to: the file to write; its folder exists.
        who: for whom it is made.
        purpose: what for, for the ledger.
        grant: id of the grant whose views it holds; without it, the views of every analyst.

    Returns:
        path, release, role, tables, views, rows, bytes, export (its number in the ledger).

    Raises:
        WrongUse: nothing is published for the role, `to` is some other file, or the release was removed meanwhile.
    """
    role = roles.ANALYST if grant is None else roles.of_grant(grant)
    source = roles.database(desk.lake, role)
    exports.require(who, purpose)
    _judge(desk.lake, to)
    beside = to.with_name(f".{to.name}.part")
    try:
        made = _build(desk.lake, source, beside, {"role": role, "made_for": who, "purpose": purpose})
        number = exports.note(desk, "portable", who, purpose, made["rows"], made.pop("names"), made["release"])["id"]
        durable.replace(beside, to)
    finally:
        for leftover in (beside, Path(f"{beside}.wal")):
            leftover.unlink(missing_ok=True)
    return made | {"path": str(to), "role": role, "bytes": to.stat().st_size, "export": number}


def _judge(lake: Lake, to: Path) -> None:
    """Raise WrongUse unless `to` is a new file, or a portable file of this lake, outside of it."""
    if lake.home in to.resolve().parents:
        raise WrongUse(f"{to} lies in the lake, which keeps only what it made itself. Give a place outside {lake.home}.")
    if not to.resolve().parent.is_dir():
        raise WrongUse(f"{to.parent} is no folder. Make it, or give another place.")
    if to.exists() and _made_by(to) != _id(lake):
        raise WrongUse(f"{to} is not a portable file of this lake; it was left alone. Give another name, or remove it yourself.")


def _made_by(file: Path) -> str | None:
    """The id of the lake whose portable file this is, None when it is something else."""
    with suppress(duckdb.Error), connect(file, read_only=True) as con:
        return con.execute(f"SELECT lake FROM main.{MARK}").fetchone()[0]
    return None


def _id(lake: Lake) -> str:
    return json.loads((lake.home / "lake.json").read_text())["id"]


def _build(lake: Lake, source: Path, beside: Path, facts: dict[str, str]) -> dict[str, Any]:
    shutil.copyfile(source, beside)
    beside.chmod(0o600)
    with connect(beside) as con:
        views = con.execute("SELECT schema_name, view_name, sql, comment FROM duckdb_views() WHERE NOT internal ORDER BY view_oid").fetchall()
        inside = [(schema, view, comment) for schema, view, sql, comment in views if "read_parquet(" in sql]
        con.execute("BEGIN")
        rows = sum(_take_in(con, *one) for one in inside)
        release = roles.release_of(con)
        _mark(con, {"lake": _id(lake), "release": str(release), **facts, "made_at": now()})
        _judge_free(con, lake)
        con.execute("COMMIT")
        con.execute("CHECKPOINT")
    return {"release": release, "tables": len(inside), "views": len(views) - len(inside), "rows": rows, "names": [f"{s}.{v}" for s, v, _ in inside]}


def _take_in(con: duckdb.DuckDBPyConnection, schema: str, view: str, comment: str) -> int:
    """Put a table with the rows, order and comments of a view in its place; returns its rows."""
    quoted, new = f"{name(schema)}.{name(view)}", f"{name(schema)}.{name(f'{view}.part')}"
    words = con.execute("SELECT column_name, comment FROM duckdb_columns() WHERE schema_name = ? AND table_name = ? ORDER BY column_index", [schema, view]).fetchall()
    try:
        rows = con.execute(f"CREATE TABLE {new} AS FROM {quoted}").fetchone()[0]
    except duckdb.IOException as error:
        let_pass(error)
        raise WrongUse(f"The files of {schema}.{view} cannot be read: the release was removed meanwhile. Run the command again.") from None
    comments = [f"COMMENT ON TABLE {quoted} IS {text(comment)}"] + [f"COMMENT ON COLUMN {quoted}.{name(c)} IS {text(w)}" for c, w in words]
    con.execute(f"DROP VIEW {quoted}; ALTER TABLE {new} RENAME TO {name(view)}; {';'.join(comments)}")
    return rows


def _mark(con: duckdb.DuckDBPyConnection, facts: dict[str, str]) -> None:
    columns = ", ".join(f"{text(facts[c])} AS {name(c)}" for c in WORDS)
    comments = ";".join(f"COMMENT ON COLUMN main.{MARK}.{name(c)} IS {text(w)}" for c, w in WORDS.items())
    con.execute(f"CREATE TABLE main.{MARK} AS SELECT {columns}; COMMENT ON TABLE main.{MARK} IS '本文件的来历：发布、角色、领取人、用途 — What this file is'; {comments}")


def _judge_free(con: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    """Raise WrongUse when a view or macro still names a file of the lake: it would not open elsewhere."""
    bound = con.execute("SELECT schema_name || '.' || view_name FROM duckdb_views() WHERE NOT internal AND contains(sql, $1) UNION ALL "
                        "SELECT schema_name || '.' || function_name FROM duckdb_functions() WHERE NOT internal AND contains(macro_definition, $1)",
                        [str(lake.home)]).fetchall()
    if bound:
        raise WrongUse(f"{', '.join(b for b, in bound)} would still read files of the lake. Nothing was written.")
