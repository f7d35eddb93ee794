"""Which forms of SQL can be followed to their columns; the others are refused by name and place, and no literal is quoted."""
from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pipelines.settings import WrongUse

_UNNESTING = ("unnest", "explodingGenerateSeries", "range", "generate_series")
_MACRO = re.compile(r"\bMACRO\s+(\w+)\s*\(.*?\)\s+AS\s+(TABLE\b)?(.*)", re.IGNORECASE | re.DOTALL)


class Unresolved(WrongUse):
    """A SELECT reads something that cannot be followed; the message says what and where."""


class Unbound(Unresolved):
    """A SELECT names a column that its relations do not have, or is not SQL."""


def refusal(sql: str) -> str | None:
    """Why a SELECT cannot be followed, by its form alone; None when its form is no hindrance."""
    try:
        refuse(parsed(sql), {})
    except Unresolved as unresolved:
        return str(unresolved)
    return None


def parsed(sql: str) -> Any:
    """The syntax tree of one SELECT.

    Raises:
        Unresolved: it is not one SELECT.
    """
    import sqlglot
    from sqlglot import exp

    try:
        found = sqlglot.parse(sql, dialect="duckdb")
    except sqlglot.errors.SqlglotError as error:
        raise Unbound(plain(error)) from None
    if len(found) != 1 or not isinstance(found[0], exp.Query):
        raise Unresolved("it is not one SELECT")
    return found[0]


@lru_cache(maxsize=4)
def reading_macros(statements: tuple[str, ...]) -> Mapping[str, str]:
    """Macro → why the columns a caller reads through it are not known: it is a table macro, or it reads more than code lists."""
    found: dict[str, str] = {}
    for statement in statements:
        made = _MACRO.search(statement)
        if made:
            beyond = [t for t in re.findall(r"\b(?:FROM|JOIN)\s+([A-Za-z_]\w*(?:\.\w+)?)\b(?!\s*\()", made[3].replace('"', ''), re.IGNORECASE) if not t.startswith("reference.")]
            if made[2]:
                found[made[1].lower()] = "is a table macro"
            elif beyond and "." in "".join(beyond):
                found[made[1].lower()] = f"is a macro that reads {', '.join(sorted({t for t in beyond if '.' in t}))}"
    return found


def plain(error: Exception) -> str:
    """sqlglot's words without the underlined excerpt, which may quote literals."""
    listed = getattr(error, "errors", None)
    if listed:
        return f"{listed[0]['description']}, line {listed[0]['line']}, column {listed[0]['col']}"
    return re.sub(r"\x1b\[\d+m", "", str(error)).splitlines()[0].strip().rstrip(".")


def refuse(tree: Any, macros: Mapping[str, str]) -> None:
    """Raise Unresolved at the first form that cannot be followed.

    Args:
        macros: as `reading_macros` returns them.
    """
    from sqlglot import exp

    for node in tree.walk():
        what = None
        if isinstance(node, exp.Pivot):
            what = "UNPIVOT" if node.args.get("unpivot") else "PIVOT"
        elif isinstance(node, exp.Columns):
            what = "COLUMNS()"
        elif isinstance(node, exp.Star) and not isinstance(node.parent, (exp.Select, exp.Count)) and not _whole_star(node):
            what = repr(node.parent.sql(dialect="duckdb"))
        elif isinstance(node, (exp.Command, exp.Parameter, exp.Placeholder, exp.PositionalColumn)):
            what = f"{type(node).__name__.lower()} {node.sql(dialect='duckdb')!r}"
        elif isinstance(node, exp.Table) and isinstance(node.this, exp.Func) and _function(node.this) not in _UNNESTING:
            what = f"the table function {_function(node.this)}()"
        elif isinstance(node, exp.Func) and _function(node) in macros:
            what = f"{_function(node)}(), which {macros[_function(node)]}"
        if what:
            raise Unresolved(f"{what}{place(node)} cannot be followed to its columns; name the columns and relations themselves")


def _whole_star(node: Any) -> bool:
    """`t.*` in a SELECT list, which resolves to columns."""
    from sqlglot import exp

    return isinstance(node, exp.Star) and isinstance(node.parent, exp.Column) and isinstance(node.parent.parent, exp.Select)


def _function(node: Any) -> str:
    from sqlglot import exp

    return str(node.this).lower() if isinstance(node, exp.Anonymous) else node.sql_name().lower()


def place(node: Any) -> str:
    """Where a form stands, as far as the parser kept it."""
    for inner in node.walk():
        if "line" in inner.meta:
            return f" in line {inner.meta['line']}"
    return ""
