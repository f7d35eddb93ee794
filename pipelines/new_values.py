"""新值监控: codes that departments use and that no list holds yet, counted while a batch is staged and listed for acceptance.

Of a column with a code list, what fails `<column>.code`, looks like a code (macro `_looks_like_code`) and stands in at least `LEAST` rows
of the batch. So many different ones that the column may be another one are counted and not named; of sensitive columns none is. Counts
stand in counts.json and, of the judged batch, in `ledger_new_values`; the gate holds a batch for them where the contract says
`new_values: hold`. No other submitted text gets here.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import duckdb
import sqlalchemy as sa

from pipelines import ledger_tables as tables
from pipelines.compiler import UNLISTED

LEAST, MOST = 2, 20      # rows of a value; different values of a column in one batch


def count(con: duckdb.DuckDBPyConnection, of: list[int], own: str = "") -> dict[int, list[dict[str, Any]]]:
    """The new values of staged batches, whose tested rows are the view `staged`.

    Args:
        of: the batches in which a rule of a watched column fails; the others have none and are not looked at.
        own: `_of, ` where the view has that column: which batch a row is of.

    Returns:
        By batch column, value, rows; value None: more than `MOST` different ones, in so many rows.
    """
    if not of:
        return {}
    wanted = f" AND _of IN ({', '.join(map(str, of))})" if own else ""
    found: dict[int, list[dict[str, Any]]] = {}
    for one, column, value, n in con.execute(f"""
        WITH pair AS (SELECT {own or '0 AS _of, '}unnest(string_split({UNLISTED}, ' ')) AS pair FROM staged WHERE {UNLISTED} IS NOT NULL{wanted}),
        counted AS (SELECT _of, split_part(pair, '=', 1) AS "column", split_part(pair, '=', 2) AS value, count(*) AS n FROM pair GROUP BY ALL HAVING n >= {LEAST}),
        beside AS (SELECT *, count(*) OVER (PARTITION BY _of, "column") > {MOST} AS many FROM counted)
        SELECT _of, "column", if(many, NULL, value) AS value, sum(n)::BIGINT FROM beside GROUP BY ALL ORDER BY ALL""").fetchall():
        found.setdefault(one, []).append({"column": column, "value": value, "rows": n})
    return found


def entries(counts: dict[str, Any]) -> list[dict[str, Any]]:
    """What the ledger keeps of `new_values` in counts.json: values with a name."""
    return [one for one in counts.get("new_values", ()) if one["value"] is not None]


def listing(desk: Any, dataset_id: str | None = None) -> list[dict[str, Any]]:
    """The new values that nobody has accepted, in the newest revision of every batch.

    Returns:
        dataset, column, zh, list, value, rows, batches, held (batches that are), first and last batch date, command (that accepts it), by dataset and column.

    Raises:
        WrongUse: there is no such dataset.
    """
    from pipelines.contract import dataset as read_dataset, datasets

    wanted = {d.id: d for d in ([read_dataset(dataset_id, desk.project)] if dataset_id else datasets(desk.project))}
    known: dict[str, set[str]] = {}
    return [shown for row in _counted(desk, wanted) if (shown := _shown(desk, wanted[row["dataset"]], row, known))]


def of_batches(desk: Any, found: Any, keys: Iterable[tuple[str, int]]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """(batch_id, revision) → the new values of that batch that nobody has accepted; as `listing`, of this batch alone."""
    known: dict[str, set[str]] = {}
    return {key: [shown for row in rows if (shown := _shown(desk, found, {k: row[k] for k in ("column", "value", "rows")}, known))]
            for key, rows in desk.ledger.of(tables.new_values, keys).items()}


def waiting(desk: Any, list_name: str, value: str) -> dict[str, list[str]]:
    """Dataset → batch dates of the held batches in which a code of this list was new."""
    from pipelines.contract import datasets

    columns = {(d.id, c.name) for d in datasets(desk.project) for c in d.columns if c.type == f"code({list_name})"}
    b, n = tables.batches, tables.new_values
    rows = desk.ledger.rows(sa.select(b.c.dataset, b.c.batch_date, n.c.column).join(n, (n.c.batch_id == b.c.batch_id) & (n.c.revision == b.c.revision)).where(
        b.c.state == "held", n.c.value == value).distinct().order_by(b.c.dataset, b.c.batch_date))
    found: dict[str, list[str]] = {}
    for row in rows:
        if (row["dataset"], row["column"]) in columns and row["batch_date"] not in found.setdefault(row["dataset"], []):
            found[row["dataset"]].append(row["batch_date"])
    return {dataset: days for dataset, days in found.items() if days}


def command(dataset_id: str, column: str, value: str) -> str:
    """The command that accepts a code."""
    return f"python -m pipelines accept-value {dataset_id} {column} {value} --label … --document … --by …"


def text(rows: list[dict[str, Any]]) -> str:
    """One line per new value, and how each is accepted."""
    from pipelines import show

    columns = ["dataset", "column", "value", "rows", "batches", "held", "first", "last"]
    table = show.table({"columns": columns, "rows": [[r[c] for c in columns] for r in rows], "count": False})
    return "\n".join([table, "To accept one that a document introduces:", *dict.fromkeys(f"  {r['command']}" for r in rows)]) if rows else "There is no new value."


def _counted(desk: Any, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    b, n = tables.batches, tables.new_values
    held = sa.func.sum(sa.case((b.c.state == "held", 1), else_=0)).label("held")
    return desk.ledger.rows(sa.select(
        b.c.dataset, n.c.column, n.c.value, sa.func.sum(n.c.rows).label("rows"), sa.func.count().label("batches"), held,
        sa.func.min(b.c.batch_date).label("first"), sa.func.max(b.c.batch_date).label("last")).join(
        n, (n.c.batch_id == b.c.batch_id) & (n.c.revision == b.c.revision)).where(b.c.dataset.in_(wanted), b.c.state != "superseded").group_by(
        b.c.dataset, n.c.column, n.c.value).order_by(b.c.dataset, n.c.column, n.c.value))


def _shown(desk: Any, found: Any, row: dict[str, Any], known: dict[str, set[str]]) -> dict[str, Any] | None:
    """The row with words and its command; None where the value is in its list by now, or the column has none any more."""
    from pipelines import accepting
    from pipelines.semantics import semantic_type

    column = next((c for c in found.columns if c.name == row["column"]), None)
    kind = column and semantic_type(column.type)
    if not kind or kind.name != "code":
        return None
    if kind.parameter not in known:
        known[kind.parameter] = accepting.listed(desk, kind.parameter)
    if row["value"] in known[kind.parameter]:
        return None
    return row | {k: int(row[k]) for k in ("rows", "batches", "held") if k in row} | {
        "zh": column.zh, "list": kind.parameter, "command": command(found.id, column.name, row["value"])}
