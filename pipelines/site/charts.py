"""What `assets/site.js` draws, as data inside a page: kind, axes, series with a Chinese and an English name. None: nothing worth drawing.

Every chart stands beside a table with the same numbers.
"""
from __future__ import annotations

from typing import Any

from pipelines.site.marks import DIMENSIONS

Row = dict[str, Any]
Spec = dict[str, Any]
Name = tuple[str, str]


def value(row: Row | None) -> float | None:
    """The value of a row of the health check, None without one."""
    return row["value"] if row else None


def short(number: float | None) -> float | None:
    """A score as charts need it: a hundredth of a tenth of a percent."""
    return None if number is None else round(number, 5)


def heat(months: list[str], rows: list[Row]) -> Spec | None:
    """Names × months. `rows`: name and trend (one value per month)."""
    return {"kind": "heat", "x": months, "y": [r["name"] for r in rows], "values": [list(map(short, r["trend"])) for r in rows]} if months else None


def lines(months: list[str], named: list[tuple[Name, list[float | None]]], dashed: tuple[Name, ...] = ()) -> Spec | None:
    """A line per name, one value per month."""
    if len(months) < 2 or not named:
        return None
    return {"kind": "lines", "x": months, "series": [{"name": name, "values": list(map(short, values)), "dashed": name in dashed} for name, values in named]}


def radar(month: str | None, dimensions: list[tuple[str, Row | None]]) -> Spec | None:
    """The measured dimensions of a month, against the month before where all have one."""
    measured = [(code, row) for code, row in dimensions if row and row["value"] is not None]
    if len(measured) < 3:
        return None
    series = [{"name": (month, month), "values": [short(row["value"]) for _, row in measured]}]
    if all(row["previous"] is not None for _, row in measured):
        series.append({"name": ("上月", "Month before"), "values": [short(row["previous"]) for _, row in measured]})
    return {"kind": "radar", "axes": [DIMENSIONS[code] for code, _ in measured], "series": series}


def bars(volumes: list[Row]) -> Spec | None:
    """Records per month, those in quarantine apart."""
    if not volumes:
        return None
    return {"kind": "bars", "x": [v["month"] for v in volumes], "series": [
        {"name": ("入库或可入库", "Kept"), "values": [(v["records"] or 0) - (v["quarantined"] or 0) for v in volumes]},
        {"name": ("隔离", "Quarantined"), "values": [v["quarantined"] or 0 for v in volumes]}]}
