"""Scores of GB/T 36344-2018: rule → indicator (X = A/B over applicable rows) → dimension → dataset.

An indicator nobody measured has no score; it is never counted as 1. Inverse indicators (0303 duplicates) enter as 1 − X.
"""
from __future__ import annotations

from typing import Any


def indicators(results: list[dict[str, Any]], counts: dict[str, Any]) -> dict[str, float]:
    """Indicator code → X of one batch.

    Args:
        results: rule results with indicator, applicable, failed.
        counts: the batch's conservation counts.
    """
    sums: dict[str, list[int]] = {}
    for result in results:
        total = sums.setdefault(result["indicator"], [0, 0])
        total[0] += result["applicable"] - result["failed"]
        total[1] += result["applicable"]
    if counts["records"]:
        sums["0303"] = [counts["records"] - counts["copies"], counts["records"]]
    return {code: held / measured for code, (held, measured) in sorted(sums.items()) if measured}


def dataset(results: list[dict[str, Any]], counts: dict[str, Any]) -> float | None:
    """The mean over the dimensions (first two digits) that were measured, each the mean of its indicators."""
    dimensions: dict[str, list[float]] = {}
    for code, value in indicators(results, counts).items():
        dimensions.setdefault(code[:2], []).append(value)
    means = [sum(v) / len(v) for v in dimensions.values()]
    return round(sum(means) / len(means), 4) if means else None
