"""Which rows a grant or a reader names: one boolean expression over the published columns of a dataset, and nothing else.

What was parsed and allowed is what runs: the SQL is written anew from the tree, so no comment, second statement or subquery gets through.
"""
from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from pipelines.settings import WrongUse

_NODES = ("Column", "Identifier", "Literal", "Boolean", "Null", "And", "Or", "Not", "Paren", "EQ", "NEQ", "GT", "GTE", "LT", "LTE", "Like", "ILike", "In", "Between", "Is",
          "Neg", "Add", "Sub", "Mul", "Div", "IntDiv", "Mod", "Cast", "TryCast", "DataType", "DPipe", "NullSafeEQ", "NullSafeNEQ", "Tuple",
          "Left", "Right", "Substring", "Length", "Lower", "Upper", "Trim", "Coalesce", "StartsWith", "Contains", "Year", "Month", "Abs", "Round", "Extract", "Var",
          "TsOrDsToDate", "Date")
_TYPES = ("VARCHAR", "TEXT", "INT", "BIGINT", "DOUBLE", "DECIMAL", "DATE", "BOOLEAN", "TIMESTAMP")
_PERSONAL = re.compile(r"[0-9０-９](?:[ \-–—]?[0-9０-９]){10,}|@")


def parse(condition: str, columns: Collection[str], where: str) -> Any:
    """The syntax tree of a condition.

    Args:
        columns: what it may read.
        where: how messages call the dataset.

    Raises:
        WrongUse: it is not one expression, reads another column, or uses a form or function that is not for conditions.
    """
    import sqlglot
    from sqlglot import exp

    try:
        found = sqlglot.parse(condition, dialect="duckdb")
    except sqlglot.errors.SqlglotError:
        raise WrongUse(f"--rows is no SQL expression. Give one condition over columns of {where}, such as \"region_code like '6401%'\".") from None
    if len(found) != 1 or found[0] is None:
        raise WrongUse("--rows must be one condition.")
    for node in found[0].walk():
        kind = type(node).__name__
        if kind not in _NODES or (kind == "DataType" and node.this.name not in _TYPES) or (kind == "In" and (node.args.get("query") or node.args.get("unnest"))):
            what = node.name if isinstance(node, exp.Anonymous) else node.sql_name() if isinstance(node, exp.Func) else kind.upper()
            raise WrongUse(f"--rows may not use {what}: comparisons, AND, OR, NOT, IN, BETWEEN, LIKE, arithmetic and simple functions of text and dates over columns "
                           "of the dataset are allowed; subqueries, aggregates and other functions are not.")
        if kind == "Column" and (node.table or node.name not in columns):
            raise WrongUse(f"--rows reads {node.sql(dialect='duckdb')}, which {where} does not publish. Its columns: {', '.join(columns)}.")
        if kind == "Literal" and _PERSONAL.search(node.this):
            raise WrongUse("--rows holds what looks like an identity or telephone number. The ledger keeps it, so name persons by their pseudonym (person_id = '…').")
    return found[0]


def sql(tree: Any, prefix: str = "") -> str:
    """The condition as SQL; every column is quoted and preceded by `prefix`."""
    from sqlglot import exp

    made = tree.copy()
    for cast in list(made.find_all(exp.Cast)):
        if not isinstance(cast, exp.TryCast):      # a value that does not fit is no reason to stop a release
            cast.replace(exp.TryCast(**cast.args))
    for column in list(made.find_all(exp.Column)):
        column.set("this", exp.to_identifier(f"{prefix}{column.name}", quoted=True))
    return made.sql(dialect="duckdb", comments=False)


def named_persons(tree: Any, pseudonyms: Collection[str]) -> int | None:
    """How many persons a condition names by pseudonym, where it can hold for no others; None where it can."""
    from sqlglot import exp

    tree = tree.unnest()
    if isinstance(tree, exp.And):
        return next((n for n in (named_persons(side, pseudonyms) for side in (tree.left, tree.right)) if n is not None), None)
    if isinstance(tree, exp.EQ) and {type(tree.left), type(tree.right)} == {exp.Column, exp.Literal}:
        column = tree.left if isinstance(tree.left, exp.Column) else tree.right
        return 1 if column.name in pseudonyms else None
    if isinstance(tree, exp.In) and isinstance(tree.this, exp.Column) and tree.this.name in pseudonyms:
        return len(tree.expressions) if all(isinstance(e, exp.Literal) for e in tree.expressions) else None
    return None
