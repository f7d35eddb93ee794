"""专题视图: `warehouse/views/<schema>/<name>.sql`, lead lists that join several base databases for analysts.

A file is a header of `-- key: text` lines and one SELECT over published views. Every key below is required, every
output column is described, and `needs` names exactly the datasets the SELECT reads; anything else is refused.
A theme whose datasets are not all declared is left out of a release and listed there.
治理视图 `warehouse/views/governance/*.sql` (scores) read only tables and views of `governance` and `reference`: their header has no `match`, `needs`
and `left out`, and they are created after the views they read.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import duckdb

from pipelines import governance, history, lineage, masks
from pipelines.compiler import Plan
from pipelines.declared import Problems
from pipelines.settings import Project, WrongUse
from pipelines.sql import name, parser, text
from pipelines.trouble import let_pass

HEADER = ("zh", "en", "grain", "rule", "match", "needs", "left out")
GOVERNANCE, GOVERNANCE_HEADER = "governance", HEADER[:4]
REQUIRED_COLUMNS = ("rule_id", "match_level", "as_of")
_LINE = re.compile(r"--\s?(.*)")
_COLUMN = re.compile(r"\s{2,}(\w+): (.+) — (.+)")
_SHARED = ("reference", "governance")


@dataclass(frozen=True)
class Theme:
    """One theme view: what it is called, what it says about itself, and its SELECT."""

    schema: str
    name: str
    comment: str
    needs: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    sql: str

    @property
    def id(self) -> str:
        return f"{self.schema}.{self.name}"

    def facts(self) -> dict[str, Any]:
        """What stands in a release manifest."""
        return asdict(self)


def themes(project: Project) -> tuple[Theme, ...]:
    """Every theme view of the project in order of path; governance views first, each after those it reads.

    Raises:
        WrongUse: a file does not keep the header, or views read each other; every problem of every file is listed.
    """
    found: list[Theme] = []
    errors: list[str] = []
    for path in sorted(project.views.glob("*/*.sql")):
        problems = Problems(path)
        theme = _read(path, problems)
        errors += problems.lines
        if theme:
            found.append(theme)
    if errors:
        raise WrongUse("\n".join(errors))
    scores = {t.id: t for t in found if t.schema == GOVERNANCE}
    return (*_in_order(scores), *(t for t in found if t.id not in scores))


def _in_order(views: dict[str, Theme]) -> list[Theme]:
    """Governance views, each after the views it reads."""
    order = TopologicalSorter({id_: reads(view.sql) & set(views) for id_, view in views.items()})
    try:
        return [views[id_] for id_ in order.static_order()]
    except CycleError as error:
        raise WrongUse(f"Governance views read each other in a circle: {' → '.join(error.args[1])}. Let one of them read tables.") from None


def _read(path: Path, problems: Problems) -> Theme | None:
    lines = path.read_text("utf-8").splitlines()
    end = next((i for i, line in enumerate(lines) if not _LINE.match(line)), len(lines))
    scores = path.parent.name == GOVERNANCE
    keys = GOVERNANCE_HEADER if scores else HEADER
    header, columns = _header([_LINE.match(line)[1] for line in lines[:end]], keys, problems)
    for key in keys:
        problems.unless(bool(header.get(key)), "header", f"lacks '-- {key}:'")
    for column in () if scores else REQUIRED_COLUMNS:
        problems.unless(column in dict(columns), "header", f"describes no column {column!r}, which every theme has")
    sql = "\n".join(lines[end:]).strip().rstrip(";")
    problems.unless(bool(sql), "SELECT", "is missing")
    if problems.lines:
        return None
    needs = tuple(sorted(n.strip() for n in header.get("needs", "").split(",") if n.strip()))
    _judge_needs(needs, sql, problems)
    comment = f"{header['zh']} — {header['en']}\n粒度 grain: {header['grain']}\n规则 rule: {header['rule']}"
    if not scores:
        comment += f"\n匹配 match: {header['match']}\n未含 left out: {header['left out']}"
    return None if problems.lines else Theme(path.parent.name, path.stem, comment, needs, tuple(columns), sql)


def _header(lines: list[str], keys: tuple[str, ...], problems: Problems) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The keys and the described columns; an indented line under a key other than `columns` continues it."""
    header: dict[str, str] = {}
    columns: list[tuple[str, str]] = []
    key = None
    for line in lines:
        if line.startswith("  ") and key == "columns":
            found = _COLUMN.match(line)
            problems.unless(bool(found), "columns", f"has a line that is not 'name: 中文 — English': {line.strip()!r}")
            columns += [(found[1], f"{found[2]} — {found[3]}")] if found else []
        elif line.startswith("  ") and key:
            header[key] = f"{header[key]} {line.strip()}".strip()
        else:
            key, _, value = line.partition(":")
            problems.unless(key in keys + ("columns",), "header", f"has the unknown key {key!r}; keys are {', '.join(keys)}, columns")
            header[key] = value.strip()
    return header, columns


def _judge_needs(needs: tuple[str, ...], sql: str, problems: Problems) -> None:
    try:
        datasets = {t for t in reads(sql) if t.partition(".")[0] not in _SHARED}
    except WrongUse as error:
        form = lineage.refusal(sql)      # the engine's own words about PIVOT or COLUMNS() mislead here
        return problems.add("SELECT", f"cannot be followed: {form}" if form else str(error))
    if datasets != set(needs):
        problems.add("needs", f"says {', '.join(needs) or 'nothing'}; the SELECT reads {', '.join(sorted(datasets)) or 'nothing'}")


@lru_cache(maxsize=1024)
def reads(sql: str) -> frozenset[str]:
    """The relations a SELECT reads, as schema.name; one without a schema stands as it is written.

    From the parsed tree, which needs no macro to exist. Raises:
        WrongUse: it is not one SELECT.
    """
    tree = json.loads(parser().execute("SELECT json_serialize_sql(?)", [sql]).fetchone()[0])
    if tree["error"]:
        raise WrongUse(f"is not SQL: {tree['error_message'].splitlines()[0]}")
    tables, ctes = set(), set()
    for node in _nodes(tree):
        if node.get("type") == "BASE_TABLE":
            tables.add(".".join(filter(None, (node["schema_name"], node["table_name"]))))
        ctes.update(one["key"] for one in (node.get("cte_map") or {}).get("map", ()))
    return frozenset(tables - ctes)


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of a JSON tree."""
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _nodes(child)
    if isinstance(tree, dict):
        yield tree


def create(con: duckdb.DuckDBPyConnection, theme: dict[str, Any]) -> None:
    """Create one theme view with its comments, and hold it to its header.

    Args:
        con: a database with the published views and macros.
        theme: `Theme.facts()`.

    Raises:
        WrongUse: it does not bind, or its columns are not those of its header.
    """
    bind(con, theme)
    hold(theme, [row[0] for row in con.execute(f"DESCRIBE {name(theme['schema'])}.{name(theme['name'])}").fetchall()])
    con.execute(";".join(statements(theme)[1:]))


def bind(con: duckdb.DuckDBPyConnection, theme: dict[str, Any]) -> None:
    """Create one theme view, without comments.

    Raises:
        WrongUse: it does not bind.
    """
    try:
        con.execute(statements(theme)[0])
    except duckdb.Error as error:
        let_pass(error)
        raise WrongUse(f"theme view {theme['schema']}.{theme['name']} does not bind: {str(error).splitlines()[0]}") from None


def hold(theme: dict[str, Any], given: list[str]) -> None:
    """Hold the columns that a view yields to its header.

    Raises:
        WrongUse: they are not those.
    """
    described = [c for c, _ in theme["columns"]]
    if given != described:
        raise WrongUse(f"theme view {theme['schema']}.{theme['name']} yields columns {', '.join(given)}; "
                       f"its header describes {', '.join(described)}. Describe each, in order.")


def statements(theme: dict[str, Any]) -> list[str]:
    """The statement that creates a theme view, and those that comment it and its columns."""
    view = f"{name(theme['schema'])}.{name(theme['name'])}"
    return [f"CREATE SCHEMA IF NOT EXISTS {name(theme['schema'])}; CREATE VIEW {view} AS {theme['sql']}", f"COMMENT ON VIEW {view} IS {text(theme['comment'])}",
            *(f"COMMENT ON COLUMN {view}.{name(c)} IS {text(words)}" for c, words in theme["columns"])]


def check(con: duckdb.DuckDBPyConnection, project: Project, plans: list[Plan]) -> list[tuple[str, str | None]]:
    """Try every theme view over empty published views; (view, error or None) each.

    Args:
        con: a connection with the code lists and macros loaded.
        plans: the plan of every dataset.
    """
    known = {plan.dataset.id for plan in plans}
    for plan in plans:
        _empty(con, plan.dataset.id, [(c.name, c.type) for c in masks.published(plan)])
    for plan in (p for p in plans if p.dataset.history):
        _empty(con, f"{plan.dataset.id}_versions", [c[:2] for c in history.columns(plan)])
        create(con, history.view(plan, None))
    for table, declared in governance.TABLES.items():
        _empty(con, f"governance.{table}", declared.columns)
    results = []
    for theme in themes(project):
        missing = [n for n in theme.needs if n not in known]
        error = f"theme view {theme.id} needs {', '.join(missing)}, which no contract declares" if missing else None
        try:
            if not missing:
                create(con, theme.facts())
        except WrongUse as wrong:
            error = str(wrong)
        results.append((theme.id, error))
    return results


def _empty(con: duckdb.DuckDBPyConnection, view: str, columns: Any) -> None:
    schema, _, table = view.partition(".")
    typed = ", ".join(f"NULL::{kind} AS {name(column)}" for column, kind in columns)
    con.execute(f"CREATE SCHEMA IF NOT EXISTS {name(schema)}; CREATE OR REPLACE VIEW {name(schema)}.{name(table)} AS SELECT {typed} WHERE false")
