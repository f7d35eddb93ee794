"""Commands about access: grants and exports. What they print holds ids, columns, roles and counts, never a value of a record."""
from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines import show
from pipelines.officer import Command
from pipelines.settings import WrongUse

DONE = 0


def register(command: Command) -> None:
    """Add these commands to the command line."""
    made = command("grant", _grant, "授权: files with more than the default ones, for a role, a purpose, a request and a time")
    made.add_argument("datasets", nargs="+", metavar="DATASET")
    made.add_argument("--role", required=True, help="analyst, analyst_pii or case_officer")
    made.add_argument("--purpose", default="", help="what for; analysts can read it")
    made.add_argument("--request", default="", help="number of the request; analysts can read it")
    made.add_argument("--columns", required=True, action="append", help="comma-separated; domain.dataset.column for one dataset alone")
    made.add_argument("--rows", help="a condition over published columns, such as \"region_code like '6401%%'\"")
    made.add_argument("--until", default="", metavar="DATE", help="last day, YYYY-MM-DD (default: 30 days from today)")
    made.add_argument("--by", default="", help="who grants it")
    made.add_argument("--group", help="group of the accounts that may read it (default: LAKE_GRANT_GROUP)")
    command("grants", _grants, "every grant, those in force first")
    gone = command("revoke", _revoke, "end a grant and remove its files")
    gone.add_argument("id", type=int, nargs="?")
    gone.add_argument("--request", default="", help="instead: all grants of this request")
    gone.add_argument("--reason", default="", help="why; analysts can read it")
    out = command("export", _export, "导出: write the answer of one query on lake.duckdb to a file, logged")
    out.add_argument("sql")
    out.add_argument("--to", required=True, type=Path, metavar="FILE", help="a new .csv or .xlsx file")
    out.add_argument("--purpose", default="", help="what for; analysts can read it")
    out.add_argument("--by", default="", help="who exports; analysts can read it")
    out.add_argument("--rows", required=True, type=int, metavar="N", help="at most so many rows, otherwise nothing is written")


def _print(options: argparse.Namespace, result: Any, as_text: Callable[[Any], str]) -> None:
    print(json.dumps(result, ensure_ascii=False, default=str) if options.json else as_text(result))


def _grant(options: argparse.Namespace) -> int:
    from pipelines import grants
    from pipelines.desk import Desk

    given = {k: getattr(options, k) for k in ("datasets", "role", "purpose", "request", "columns", "until", "by", "rows", "group")}
    _print(options, grants.grant(Desk.open(), **given), lambda g: f"Grant {g['id']}: {g['role']}, {g['datasets']}, until {g['expires_on']}, readers: {g['reader_group'] or 'this account only'}. "
                                                                   f"Open {g['database']}")
    return DONE


def _grants(options: argparse.Namespace) -> int:
    from pipelines import grants
    from pipelines.desk import Desk

    _print(options, grants.listing(Desk.open()), listed)
    return DONE


def listed(rows: list[dict[str, Any]]) -> str:
    """One line per grant."""
    columns = ["id", "role", "datasets", "columns", "request", "purpose", "granted_by", "expires_on", "reason"]
    shown = [[str(g[c]) if c == "id" else g[c] for c in columns] for g in rows]
    return show.table({"columns": [*columns[:-1], "ended"], "rows": shown, "count": False}) if rows else "There is no grant."


def _revoke(options: argparse.Namespace) -> int:
    from pipelines import grants
    from pipelines.desk import Desk

    desk = Desk.open()
    numbers = [options.id] if options.id is not None else [g["id"] for g in grants.in_force(desk.ledger) if g["request"] == options.request]
    if not numbers:
        raise WrongUse("Name a grant in force by its number, or by --request. All: python -m pipelines grants")
    ended = [grants.revoke(desk, number, options.reason) for number in numbers]
    _print(options, ended, lambda found: "\n".join(f"Grant {g['id']} of {g['request']} has ended; its files are removed." for g in found))
    return DONE


def _export(options: argparse.Namespace) -> int:
    from pipelines import exports

    found = exports.export(options.sql, options.to, options.purpose, options.by, options.rows)
    _print(options, found, lambda e: f"Export {e['id']}: {e['rows']:,} rows of {e['views'] or 'no view'} in {options.to}")
    return DONE
