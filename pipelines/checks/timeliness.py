"""Were batches delivered in time (0502)? From the contract's frequency and latency and the ledger's times of receipt.

Results stand per (source, expected date) and count streams. Days are calendar days: the project ships no calendar of holidays.
A refused delivery is none. The day at which lateness is measured is a parameter; only an overdue delivery depends on it.
"""
from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import sqlalchemy as sa

from pipelines import ledger_tables as tables
from pipelines.checks import results
from pipelines.checks.candidate import Candidate
from pipelines.compiler import Plan
from pipelines.governance import arrow

KIND = "timeliness"
SQL = Path(__file__).with_name("timeliness.sql")
SHOWN = 10
_CHECK = results.Check(rule="delivery.in_time", kind=KIND, zh="按约定的更新周期和时限报送", en="delivered in the agreed rhythm and time", indicator="0502",
                       reason="契约约定的更新频率和报送时限（slaProperties：frequency、latency）")
_MONTHS = {"month": 1, "quarter": 3, "half-year": 6, "year": 12}
_DAYS = {"day": 1, "week": 7}


def judge(found: Candidate, plan: Plan, today: str) -> results.Findings | None:
    """What was due until `today` and what came; None when the contract agrees on no latency, nothing ever came, or it is what it was."""
    d, sla = plan.dataset, {p: (value, unit) for p, value, unit in plan.dataset.sla}
    if "latency" not in sla:
        return None
    b = tables.batches
    batches = found.desk.ledger.rows(sa.select(b.c.source, b.c.part, b.c.batch_date, sa.func.min(b.c.received_at).label("received_at")).where(
        b.c.dataset == d.id, b.c.state != "refused").group_by(b.c.source, b.c.part, b.c.batch_date))
    if not batches:
        return None
    rows = due(found.apart, batches, sla["frequency"], sla["latency"][0], today)
    departments, made = {s.source: s.department for s in d.sources}, results.Findings(d.id, KIND)
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault((row["source"], row["expected"]), []).append(row)
    for (source, expected), streams in grouped.items():
        regions: dict[str, tuple[int, int]] = {}
        for row in streams:
            region = row["part"] if row["part"].isdigit() and len(row["part"]) == 6 else ""
            applicable, failed = regions.get(region, (0, 0))
            regions[region] = applicable + 1, failed + (row["days_late"] > 0)
        made.add(_CHECK, source, departments.get(source, d.sources[0].department), expected, regions, _detail(streams))
    return None if results.entered(found.desk.ledger, made) else made


def due(con: duckdb.DuckDBPyConnection, batches: list[dict[str, Any]], frequency: tuple[float, str], latency: float, today: str) -> list[dict[str, Any]]:
    """Every delivery that came or is overdue: source, part, expected (ISO date), missing, days_late.

    Args:
        batches: source, part, batch_date and received_at (UTC) of what came.
        frequency: how many of which unit of `contract_checks.FREQUENCY_UNITS`.
        latency: days allowed after the expected date.
        today: ISO date.
    """
    every, unit = frequency
    con.register("delivery", arrow([b | {"received_on": _local(b["received_at"])} for b in batches], "source, part, batch_date, received_on"))
    values = {"months": every * _MONTHS.get(unit, 0), "days": every * _DAYS.get(unit, 0), "latency": latency}
    for key, value in values.items():
        con.execute(f"SET VARIABLE {key} = {int(value)}")
    con.execute("SET VARIABLE today = $1", [today])
    found = con.execute(SQL.read_text("utf-8"))
    return [dict(zip([c[0] for c in found.description], row)) for row in found.fetchall()]


def _local(received_at: str) -> str:
    """The day in China on which something was received."""
    return datetime.fromisoformat(received_at).astimezone(ZoneInfo("Asia/Shanghai")).date().isoformat()


def _detail(streams: list[dict[str, Any]]) -> dict[str, Any] | None:
    late = sorted((r for r in streams if r["days_late"]), key=lambda r: -r["days_late"])
    if not late:
        return None
    return {"missing": sum(r["missing"] for r in late), "days_late": late[0]["days_late"], "days": "calendar",
            "parts": [{"part": r["part"], "days_late": r["days_late"], "missing": r["missing"]} for r in late[:SHOWN]]}
