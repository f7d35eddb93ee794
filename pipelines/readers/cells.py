"""A spreadsheet cell as text: what the sheet shows, dates in ISO form, no thousands separators."""
from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

_DIGITS = 10**15        # a spreadsheet keeps 15 digits and shows longer numbers rounded


def cell(value: Any) -> str:
    """The text of a value as python-calamine gives it; error values and empty cells are ''."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (int, float)):
        return number(float(value))
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, time):
        return value.isoformat("seconds")
    if isinstance(value, timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
    return ""


def number(value: float) -> str:
    """A number as a sheet shows it: at most 15 digits; longer ones as 1.10105E+17, which no identifier check accepts."""
    if not math.isfinite(value):
        return ""
    if abs(value) < _DIGITS and value.is_integer():
        return str(int(value))
    if abs(value) >= _DIGITS:
        mantissa, exponent = f"{value:.5E}".split("E")
        return f"{mantissa.rstrip('0').rstrip('.')}E{exponent}"
    return format(Decimal(f"{value:.15g}"), "f")


def filled(row: list[str]) -> list[str]:
    """The row without blank cells at its end."""
    width = len(row)
    while width and not row[width - 1].strip():
        width -= 1
    return row[:width]
