"""What left the lake as a file of its own, in the ledger: who, for what purpose, which views, how many rows, where to; no value of a row."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipelines import ledger_tables as tables
from pipelines.desk import Desk
from pipelines.ledger import now
from pipelines.settings import WrongUse

QUERY, PORTABLE = "query", "portable"


def require(who: str, purpose: str) -> None:
    """Raise WrongUse unless somebody is named and a purpose given."""
    if not who.strip() or not purpose.strip():
        raise WrongUse("An export needs a name and a purpose: --by NAME --purpose TEXT.")


def note(desk: Desk, kind: str, who: str, purpose: str, rows: int, views: Iterable[str], to: Path) -> int:
    """Enter one export; returns its number.

    Args:
        kind: `query` or `portable`.
        views: the views it was made from, as schema.name.
        to: where it was written.

    Raises:
        WrongUse: as `require`.
    """
    require(who, purpose)
    with desk.ledger.transaction() as con:
        done = con.execute(tables.exports.insert().values(
            at=now(), who=who, kind=kind, purpose=purpose, rows=rows, views=", ".join(sorted(views)), target=str(to)))
        return done.inserted_primary_key[0]
