"""docs/performance.md: its figures, from what `make bench` left in tests/benchmarks/results; everything else in it is written by hand.

    python -m tests.benchmarks.report

Replaces what stands between the marks `<!-- figures -->` and `<!-- end -->`. A figure that no run has left is not shown.
"""
from __future__ import annotations

import json
import math
import statistics
from typing import Any

from tests.benchmarks.job.__main__ import APART
from tests.support import REPOSITORY

RESULTS, PAGE = REPOSITORY / "tests" / "benchmarks" / "results", REPOSITORY / "docs" / "performance.md"
WAYS = {"limit": "hand-written script", "ingest": "ingest", "publish": "ingest and release"}
BEGIN, END = "<!-- figures -->", "<!-- end -->"


def figures() -> list[dict[str, Any]]:
    """What the runs left, by rows."""
    return sorted((json.loads(f.read_text()) for f in RESULTS.glob("job-*.json")), key=lambda f: f["rows"])


def _median(runs: list[dict[str, Any]], of: str) -> float:
    return statistics.median(r[of] for r in runs)


def lines(found: list[dict[str, Any]]) -> list[str]:
    """The tables, in Markdown."""
    made = ["| rows | way | right | wall s | without sorting | × script | CPU s | × script | peak MB | runs |", "|--:|---|---|--:|--:|--:|--:|--:|--:|--:|"]
    for one in found:
        limit = one["runs"]["limit"]
        for way, runs in one["runs"].items():
            wall, cpu = _median(runs, "wall"), _median(runs, "cpu")
            apart = statistics.median(sum(r["phases"].get(p, 0) for p in APART) for r in runs)
            right = "no" if any(r["wrong"] for r in runs) else "yes"
            made.append(f"| {one['rows']:,} | {WAYS[way]} | {right} | {wall:.1f} | {wall - apart:.1f} | {(wall - apart) / _median(limit, 'wall'):.2f} | {cpu:.1f} | "
                        f"{cpu / _median(limit, 'cpu'):.2f} | {_median(runs, 'memory'):,.0f} | {len(runs)} |")
    made += ["", "Where the seconds go (run of median wall time, from the ledger):", "", "| rows | way | " + " | ".join(_steps(found)) + " |", "|--:|---|" + "--:|" * len(_steps(found))]
    for one in found:
        for way in ("ingest", "publish"):
            runs = sorted(one["runs"].get(way, ()), key=lambda r: r["wall"])
            if runs:
                phases = runs[len(runs) // 2]["phases"]
                made.append(f"| {one['rows']:,} | {WAYS[way]} | " + " | ".join(f"{phases[s]:.1f}" if s in phases else "" for s in _steps(found)) + " |")
    made += ["", *(_slope(found[0], found[-1]) if len(found) > 1 else []), f"Machine: {found[-1]['machine']}. Load when the runs ended: "
             + ", ".join(f"{one['load']:.1f} ({one['rows']:,})" for one in found) + "; on a busy machine only CPU seconds compare. Input: "
             + ", ".join(f"{one['rows']:,} {one['input']}" for one in found) + "."]
    return made


def _steps(found: list[dict[str, Any]]) -> list[str]:
    order = ("receive", "stage", "judge", "commit", "derive", "checks", "release")
    held = {s for one in found for way in ("ingest", "publish") for r in one["runs"].get(way, ()) for s in r["phases"]}
    return [s for s in order if s in held]


def _slope(small: dict[str, Any], big: dict[str, Any]) -> list[str]:
    """How CPU time grows with the rows, and what a million more cost."""
    made = []
    for way in ("ingest", "publish"):
        if way in small["runs"] and way in big["runs"]:
            low, high = _median(small["runs"][way], "cpu"), _median(big["runs"][way], "cpu")
            per, slope = (high - low) / (big["rows"] - small["rows"]) * 1e6, math.log(high / low) / math.log(big["rows"] / small["rows"])
            made.append(f"- {WAYS[way]}: {low - per * small['rows'] / 1e6:.1f} s of CPU whatever the rows, and {per:.1f} s for each million; log-log slope {slope:.2f}.")
    return ["From the smallest to the largest input:", "", *made, ""]


def main() -> None:
    """Write the figures into the page."""
    text = PAGE.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n" + "\n".join(lines(figures())) + f"\n{END}{rest.partition(END)[2]}", "utf-8")


if __name__ == "__main__":
    main()
