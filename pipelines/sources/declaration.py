"""What a contract says of a database: the keys of a server that is no folder of files, and what must hold among them.

Imports the standard library only: every reader of contracts pays for this module.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pipelines.declared import Problems

DIALECTS = ("postgresql", "mysql", "oracle", "sqlserver")
MODES = ("full", "watermark", "compare")
ON_CUT = ("resume", "restart")
KEYS = {"connection": str, "table": str, "extract": str, "updated_at": str, "overlap": int, "range_by": str, "range_rows": int,
        "rows_per_second": int, "connections": int, "window": str, "on_cut": str, "schedule": str}
_OF_FILES = ("format", "path", "encoding", "delimiter", "part_pattern", "date_pattern", "quote", "escape", "sheet", "header", "widths", "record_path",
             "trailer")
_CRON = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CLOCK = r"([01]\d|2[0-3]):([0-5]\d)"


@dataclass(frozen=True)
class Database:
    """One read-only table or view, and how gently it is read."""

    dialect: str
    connection: str
    table: str                           # [schema.]table
    extract: str                         # full: all rows | watermark, compare: what changed
    updated_at: str | None = None
    overlap: int = 0                     # seconds read again below the watermark
    range_by: str | None = None          # None: the first column of the primary key
    range_rows: int = 100_000
    rows_per_second: int = 5_000
    connections: int = 1                 # of all datasets that name the connection
    window: str | None = None            # HH:MM-HH:MM in Asia/Shanghai
    on_cut: str = "resume"
    schedule: str | None = None

    @property
    def delta(self) -> bool:
        """True when only what changed is landed."""
        return self.extract != "full"


def database(raw: dict[str, Any], custom: dict[str, Any], problems: Problems, where: str) -> Database | None:
    """The database a server of a contract names; None for files. What is wrong is added to `problems`."""
    own, given = f"{where}.customProperties", {k: custom[k] for k in KEYS if k in custom}
    if raw.get("type") not in DIALECTS:
        problems.unless(not given, own, f"gives {', '.join(given)}: keys of a database, whose type is one of {DIALECTS}")
        return None
    strange = [k for k in _OF_FILES if k in raw or k in custom]
    problems.unless(not strange, where, f"gives {', '.join(strange)}: keys of files (type: local), not of a database")
    for key in ("connection", "table", "extract"):
        problems.unless(bool(given.get(key)), own, f"lacks {key!r}")
    found = Database(raw["type"], **{"connection": "", "table": "", "extract": ""} | given)
    _judge(found, problems, own)
    return found


def _judge(found: Database, problems: Problems, own: str) -> None:
    """What must hold among the keys of one database."""
    problems.unless(bool(re.fullmatch(r"[a-z][a-z0-9_]{0,40}", found.connection)), own,
                    "connection must be a name of small letters, digits and '_', never an address: the address stands in LAKE_CONNECTION_<NAME>")
    problems.unless(bool(re.fullmatch(r"[^.]+(\.[^.]+)?", found.table)), own, "table must be a table or schema.table")
    problems.unless(found.extract in MODES, own, f"extract is {found.extract!r}, must be one of {MODES}")
    problems.unless(found.on_cut in ON_CUT, own, f"on_cut is {found.on_cut!r}, must be one of {ON_CUT}")
    watermark = found.extract == "watermark"
    problems.unless(bool(found.updated_at) == watermark, own, "updated_at belongs to extract: watermark, which needs it")
    problems.unless(watermark or not found.overlap, own, "overlap belongs to extract: watermark")
    problems.unless(found.overlap >= 0, own, "overlap must be 0 or more seconds")
    for key in ("range_rows", "rows_per_second", "connections"):
        problems.unless(getattr(found, key) > 0, own, f"{key} must be above 0")
    if found.window is not None:
        hours = re.fullmatch(f"{_CLOCK}-{_CLOCK}", found.window)
        problems.unless(bool(hours) and hours.groups()[:2] != hours.groups()[2:], own,
                        f"window is {found.window!r}, must be two different local times such as 22:00-06:00")
    if found.schedule is not None:
        problems.unless(is_cron(found.schedule), own, f"schedule is {found.schedule!r}, must be five fields of cron in digits, such as 0 0 * * *")
        problems.unless(found.schedule.split()[:2] == ["0", "0"], own,
                        "schedule must tick at midnight (0 0 …), because a run's batch date is its day; `window` says when it may read")


def is_cron(schedule: str) -> bool:
    """True for five fields of cron in digits."""
    fields = schedule.split()
    return len(fields) == len(_CRON) and all(_is_field(part, low, high) for text, (low, high) in zip(fields, _CRON) for part in text.split(","))


def _is_field(part: str, low: int, high: int) -> bool:
    found = re.fullmatch(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/([1-9]\d?))?", part)
    numbers = [int(n) for n in found.groups()[:2] if n is not None] if found else []
    return bool(found) and numbers == sorted(numbers) and all(low <= n <= high for n in numbers)
