"""血缘: which columns a SELECT reads, and in which clause; found by sqlglot, nothing is run.

Every clause is read, not only what comes out: a filter, a join or an order tells about a column as much as its value does.
What cannot be followed for certain (PIVOT, COLUMNS(), table macros, files, a star that does not resolve) is refused.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from pipelines.lineage.forms import Unbound, Unresolved, parsed, plain, reading_macros, refusal, refuse
from pipelines.lineage.reading import CLAUSES, FILTER, GROUP, JOIN, ORDER, SELECT, WINDOW, Edge, Reading

__all__ = ["CLAUSES", "FILTER", "GROUP", "JOIN", "ORDER", "SELECT", "WINDOW", "Edge", "Unbound", "Unresolved", "edges", "parsed", "reading_macros", "refusal"]


def edges(sql: str, relations: Mapping[str, Iterable[str]], macros: Iterable[str] = ()) -> tuple[Edge, ...]:
    """What a SELECT reads of `relations`, in every clause, sorted.

    Args:
        relations: what can be read: schema.name → its columns.
        macros: CREATE MACRO statements; a macro that reads more than code lists is refused where the SELECT calls it.

    Raises:
        Unresolved: a form or a column cannot be followed.
    """
    return _edges(sql, tuple(sorted((view, tuple(columns)) for view, columns in relations.items())), tuple(macros))


@lru_cache(maxsize=512)
def _edges(sql: str, relations: tuple[tuple[str, tuple[str, ...]], ...], macros: tuple[str, ...]) -> tuple[Edge, ...]:
    from sqlglot.errors import SqlglotError
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import build_scope

    tree = parsed(sql)
    refuse(tree, reading_macros(macros))
    try:
        tree = qualify(tree, dialect="duckdb", schema=_schema(relations), quote_identifiers=False, identify=False)
    except SqlglotError as error:
        raise Unbound(plain(error)) from None
    root = build_scope(tree)
    if root is None:
        raise Unresolved("it is no SELECT")
    return tuple(sorted(set(Reading(root, {v for v, _ in relations}).all()), key=lambda e: (e.column or "", *e[1:])))


@lru_cache(maxsize=8)
def _schema(relations: tuple[tuple[str, tuple[str, ...]], ...]) -> Any:
    from sqlglot.schema import MappingSchema

    nested: dict[str, dict[str, dict[str, str]]] = {}
    for view, columns in relations:
        schema, _, table = view.partition(".")
        nested.setdefault(schema, {})[table] = dict.fromkeys(columns, "VARCHAR")
    return MappingSchema(nested, dialect="duckdb")
