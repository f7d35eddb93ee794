"""When a problem must be answered: `warehouse/reference/legal_deadlines.csv`, in working days.

Days off come from `warehouse/reference/working_days.csv` (day, is_workday: the State Council's yearly notice), where that file is
there; without it, or for a day it does not have, Saturdays and Sundays are off.
"""
from __future__ import annotations

import csv
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

from pipelines.settings import Project, WrongUse

CORRECTION = "SHR-CORRECT"      # 政务数据共享条例 art. 26: verify, correct and answer within 10 working days, no extension


def due(project: Project, from_day: str, deadline: str = CORRECTION) -> str:
    """The last day on which what began on `from_day` is in time (ISO dates; the first day is not counted)."""
    left, days_off = limit(project, deadline), calendar(project)
    day = date.fromisoformat(from_day)
    while left:
        day += timedelta(days=1)
        left -= days_off.get(day.isoformat(), day.weekday() < 5)
    return day.isoformat()


def limit(project: Project, deadline: str) -> int:
    """The working days that a deadline of the law gives.

    Raises:
        WrongUse: there is no such deadline in working days.
    """
    found = _limits(project.reference / "legal_deadlines.csv")
    if deadline not in found:
        raise WrongUse(f"legal_deadlines.csv has no deadline {deadline!r} in working days. It has: {', '.join(found)}.")
    return found[deadline]


def calendar(project: Project) -> dict[str, bool]:
    """ISO date → worked or not, of the days that the yearly notice names; empty without it."""
    return _calendar(project.reference / "working_days.csv")


@lru_cache(maxsize=4)
def _limits(file: Path) -> dict[str, int]:
    with open(file, newline="", encoding="utf-8") as lines:
        return {r["code"]: int(r["limit"]) for r in csv.DictReader(lines) if r["unit"] == "working_day"}


@lru_cache(maxsize=4)
def _calendar(file: Path) -> dict[str, bool]:
    if not file.exists():
        return {}
    with open(file, newline="", encoding="utf-8") as lines:
        return {r["day"]: r["is_workday"] == "1" for r in csv.DictReader(lines)}
