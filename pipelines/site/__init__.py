"""The quality officer's site and the dictionary: static pages under `reports/`, opened as files, through any web server, or inside Airflow.

`build` brings all pages up to date; `ledger_views.connect` gives the views that its numbers come from. Nothing is loaded from outside the folder.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.compiler import Plan
    from pipelines.desk import Desk


def build(desk: Desk, plans: dict[str, Plan] | None = None, today: str | None = None) -> dict[str, Any]:
    """Bring every page up to date; see `building.build`. Its libraries are imported only now."""
    from pipelines.site import building

    return building.build(desk, plans, today)


def describe(desk: Desk) -> None:
    """Bring the dictionary alone up to date; see `building.describe`."""
    from pipelines.site import building

    building.describe(desk)
