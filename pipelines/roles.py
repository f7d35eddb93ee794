"""A role is a database file: `analyst` is the lake.duckdb of the release shown, `grant:ID` the file made for an approved purpose."""
from __future__ import annotations

import re
from pathlib import Path

import duckdb

from pipelines.settings import Lake, WrongUse

ANALYST = "analyst"
_GRANT = re.compile(r"grant:([A-Za-z0-9][A-Za-z0-9_-]*)")


def of_grant(grant: str) -> str:
    """The role of a grant."""
    return check(f"grant:{grant}")


def check(role: str) -> str:
    """`role`, if it is the name of one.

    Raises:
        WrongUse: it is not.
    """
    if role != ANALYST and not _GRANT.fullmatch(role):
        raise WrongUse(f"{role!r} is no role. Roles are {ANALYST} and grant:ID, such as grant:12.")
    return role


def database(lake: Lake, role: str) -> Path:
    """The database file of a role.

    Raises:
        WrongUse: nothing is published, or the grant has ended or never was.
    """
    granted = _GRANT.fullmatch(check(role))
    file = lake.releases / "grants" / granted[1] / "grant.duckdb" if granted else lake.database
    if not file.exists():
        raise WrongUse(f"Grant {granted[1]} has no database: it has ended, or never was. Grants in force: python -m pipelines grants" if granted
                       else "Nothing is published yet. Run: python -m pipelines release")
    return file


def release_of(con: duckdb.DuckDBPyConnection) -> int | None:
    """The number of the release that an open role's database shows, None where it does not say."""
    try:
        return con.execute("SELECT max(release_id) FROM governance.releases").fetchone()[0]
    except duckdb.CatalogException:
        return None
