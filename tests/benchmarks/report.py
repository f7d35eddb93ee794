"""docs/performance.md: its figures and pictures, from what `make bench` left in tests/benchmarks/results; everything else in it is written by hand.

    python -m tests.benchmarks.report

Replaces what stands between the marks `<!-- figures -->` and `<!-- end -->`. A figure that no run has left is not shown.
"""
from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import altair as alt

from tests.benchmarks.job.__main__ import APART
from tests.support import REPOSITORY

RESULTS, PAGE = REPOSITORY / "tests" / "benchmarks" / "results", REPOSITORY / "docs" / "performance.md"
WAYS = {"limit": "hand-written script", "ingest": "ingest", "publish": "ingest and release"}
OTHERS = {"polars": "Polars", "pandas_gx": "pandas + Great Expectations", "dbt_duckdb": "dbt + DuckDB", "dlt_duckdb": "dlt + DuckDB"}
STEPS = ("receive", "stage", "judge", "commit", "derive", "checks", "release")
COST, SHARES = PAGE.with_name("performance-cost.svg"), PAGE.with_name("performance-steps.svg")
PLACES = {"county": 500_000, "city": 5_000_000, "province": 50_000_000, "country": 1_400_000_000}
BEGIN, END = "<!-- figures -->", "<!-- end -->"
ROOM = {"left": 24, "right": 48, "top": 8, "bottom": 8}      # letters of another machine are wider than those it was drawn with


def figures() -> list[dict[str, Any]]:
    """What the runs left, by rows."""
    return sorted((json.loads(f.read_text()) for f in RESULTS.glob("job-*.json")), key=lambda f: f["rows"])


def _median(runs: list[dict[str, Any]], of: str) -> float:
    return statistics.median(r[of] for r in runs)


def lines(found: list[dict[str, Any]]) -> list[str]:
    """The tables, in Markdown."""
    made = ["| rows | way | right | wall s | without sorting | × script | CPU s | × script | peak MB | runs |", "|--:|---|---|--:|--:|--:|--:|--:|--:|--:|"]
    for one in found:
        limit = one["runs"].get("limit")
        for way, runs in one["runs"].items():
            wall, cpu = _median(runs, "wall"), _median(runs, "cpu")
            beside = (f"{_unsorted(runs) / _median(limit, 'wall'):.2f}", f"{cpu / _median(limit, 'cpu'):.2f}") if limit else ("", "")
            made.append(f"| {one['rows']:,} | {WAYS[way]} | {_right(runs)} | {wall:.1f} | {_unsorted(runs):.1f} | {beside[0]} | {cpu:.1f} | {beside[1]} | {_median(runs, 'memory'):,.0f} | {len(runs)} |")
    made += ["", "Where the seconds go (run of median wall time, from the ledger):", "", "| rows | way | " + " | ".join(_steps(found)) + " |", "|--:|---|" + "--:|" * len(_steps(found))]
    for one in found:
        for way in ("ingest", "publish"):
            runs = sorted(one["runs"].get(way, ()), key=lambda r: r["wall"])
            if runs:
                phases = runs[len(runs) // 2]["phases"]
                made.append(f"| {one['rows']:,} | {WAYS[way]} | " + " | ".join(f"{phases[s]:.1f}" if s in phases else "" for s in _steps(found)) + " |")
    made += ["", *_slopes(found), *(_sizes(found[0], found[-1]) if len(found) > 1 else []), f"Machine: {found[-1]['machine']}. Load when the runs ended: "
             + ", ".join(f"{one['load']:.1f} ({one['rows']:,})" for one in found) + "; on a busy machine only CPU seconds compare. Input: "
             + ", ".join(f"{one['rows']:,} {one['input']}" for one in found) + "."]
    return made


def _unsorted(runs: list[dict[str, Any]]) -> float:
    """Median wall seconds without what is timed apart."""
    return statistics.median(r["wall"] - sum(r["phases"].get(p, 0) for p in APART) for r in runs)


def _right(runs: list[dict[str, Any]]) -> str:
    return "no" if any(r["wrong"] for r in runs) else "yes"


def peers() -> list[str]:
    """The same job by other tools, all in turn in one call, over the input and with the comparison of their folder."""
    made = []
    for file in sorted(RESULTS.glob("peers-*.json")):
        one = json.loads(file.read_text())
        runs = one["runs"]
        made += ["", f"{one['rows']:,} rows, input and comparison from another folder (`make bench BENCH=… PEERS=…`), all in turn in one call; load of the machine when it ended {one['load']:.1f}:", "",
                 "| way | right | wall s without sorting | × script | × ingest | × ingest and release | CPU s | peak MB | memory × ingest | runs |", "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
        for way, found in runs.items():
            ratios = " | ".join(f"{_unsorted(found) / _unsorted(runs[beside]):.2f}" for beside in ("limit", "ingest", "publish"))
            made.append(f"| {(WAYS | OTHERS)[way]} | {_right(found)} | {_unsorted(found):.1f} | {ratios} | {_median(found, 'cpu'):.1f} | {_median(found, 'memory'):,.0f} | "
                        f"{_median(found, 'memory') / _median(runs['ingest'], 'memory'):.2f} | {len(found)} |")
        made += ["", _wanted(runs)]
    return made


def _wanted(runs: dict[str, Any]) -> str:
    """What the job is to cost beside the others, and what it does; of those that ran."""
    wall, memory = {way: _unsorted(found) for way, found in runs.items()}, {way: _median(found, "memory") for way, found in runs.items()}
    told = [f"{WAYS[way]} {wall[way] / wall['limit']:.1f} × the script's time (at most {most} ×)" for way, most in (("ingest", 1.5), ("publish", 2.2))]
    told += [f"{wall[way] / wall['ingest']:.1f} × as fast as {OTHERS[way]} (at least {least} ×)" for way, least in (("pandas_gx", 3.5), ("dbt_duckdb", 2.5), ("dlt_duckdb", 2.5)) if way in runs]
    told += [f"{wall['ingest'] / wall['polars']:.1f} × the time of Polars (at most 1.3 ×)"] if "polars" in runs else []
    told += [f"{memory['ingest'] / memory[way]:.0%} of the memory of {OTHERS[way]} (at most {most:.0%})" for way, most in (("pandas_gx", 0.3), ("polars", 0.5)) if way in runs]
    return f"Found (and wanted), sorting apart: {'; '.join(told)}; peak {memory['ingest'] / 1000:.2f} GB, {memory['publish'] / 1000:.2f} GB with the release (at most 2)."


def others() -> list[str]:
    """What the smaller benchmarks left, a paragraph each; one that never ran has none."""
    found = {name: json.loads(file.read_text()) for name in ("small", "workers", "arrival", "many") if (file := RESULTS / f"{name}.json").exists()}
    told = {name: words(found[name]) for name, words in (("small", _small), ("workers", _workers), ("arrival", _arrival), ("many", _many)) if name in found}
    upserts = [_upsert(json.loads(file.read_text())) for file in sorted(RESULTS.glob("upsert-*.json"), key=lambda f: int(f.stem.partition("-")[2]))]
    return [line for words in (*told.values(), *upserts) for line in ("", words)]


def _upsert(found: dict[str, Any]) -> str:
    shares = "; ".join(f"{what} of them again {found['loads'][what]['cpu']:.1f} s ({found['shares'][what]['cpu']:.1%})" for what in found["shares"])
    return f"`make bench-upsert`, {found['rows']:,} rows with the release, imports not counted: {found['loads']['full']['cpu']:.1f} s of CPU; {shares}. Both hold a cost whatever the rows."


def _small(found: dict[str, Any]) -> str:
    cpu = {way: sum(found[way]["cpu"].values()) for way in ("whole", "files", "batches") if way in found}
    shares = [f"{cpu[way]:.1f} s of CPU as {found['submissions']:,} {words} ({cpu[way] / cpu['whole']:.1f} ×)" for way, words in (
        ("files", "files of one batch"), ("batches", "batches of one file")) if way in cpu]
    return f"`make bench-small`, {found['submissions'] * found['rows']:,} rows from inbox to base: {cpu['whole']:.1f} s of CPU as one file; {'; '.join(shares)}."


def _workers(found: dict[str, Any]) -> str:
    one, two = (statistics.median(found["seconds"][n]) for n in ("1", "2"))
    return (f"`make bench-workers`, {found['batches']} batches of {found['rows']:,} rows, one DuckDB thread a worker: {one:.1f} s by one worker, {two:.1f} s by two "
            f"({found['ratio']:.2f} × as fast).")


def _arrival(found: dict[str, Any]) -> str:
    runs, last = "; ".join(f"{one['rows']:,} rows {one['seconds']:.1f} s" for one in found["runs"]), found["runs"][-1]
    tasks = ", ".join(f"{t['task'].rpartition(' ')[2]} {t['after']:.1f} ({t['seconds']:.1f})" for t in last["tasks"] if t["seconds"])
    return (f"`make bench-arrival` (load of the machine {found['load']:.1f}), from the mark of a complete file to its rows in `lake.duckdb`, the first with a cold Airflow: {runs}. "
            f"The last one's tasks began after so many seconds (and took): {tasks}. Its CPU seconds: {', '.join(f'{part} {spent:.1f}' for part, spent in last['cpu'].items())}.")


def _many(found: dict[str, Any]) -> str:
    parts = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in found.items() if what != "contracts")
    return f"`make bench-many`, {found['contracts']} contracts: {parts}."


def _steps(found: list[dict[str, Any]]) -> list[str]:
    held = {s for one in found for way in ("ingest", "publish") for r in one["runs"].get(way, ()) for s in r["phases"]}
    return [s for s in STEPS if s in held]


def _slopes(found: list[dict[str, Any]]) -> list[str]:
    """How CPU time grows with the rows, over all measured sizes (least squares) and from each to the next, and what a million more cost."""
    made = []
    for way in ("ingest", "publish"):
        cpu = [(one["rows"], _median(one["runs"][way], "cpu")) for one in found if way in one["runs"]]
        if len(cpu) > 1:
            (first, low), (last, high) = cpu[0], cpu[-1]
            per = (high - low) / (last - first)
            slopes = ", ".join(f"{math.log(t2 / t1) / math.log(n2 / n1):.2f} ({n1 / 1e6:g} to {n2 / 1e6:g} million)" for (n1, t1), (n2, t2) in zip(cpu, cpu[1:]))
            line = statistics.linear_regression(*([math.log(n) for n in each] for each in zip(*cpu))).slope
            made.append(f"- {WAYS[way]}: {low - per * first:.1f} s of CPU whatever the rows, and {per * 1e6:.1f} s for each million; log-log slope {line:.2f} of one line through "
                        f"all sizes, from each to the next {slopes}.")
    return ["How cost grows:", "", *made, ""] if made else []


def _sizes(small: dict[str, Any], big: dict[str, Any]) -> list[str]:
    """Arithmetic from the two: how long a first load of everybody takes, and the disk it needs."""
    if not all("publish" in one["runs"] and "disk" in one["runs"]["publish"][0] for one in (small, big)):
        return []
    low, high, disk = _median(small["runs"]["publish"], "cpu"), _median(big["runs"]["publish"], "cpu"), sum(big["runs"]["publish"][0]["disk"].values())
    per = (high - low) / (big["rows"] - small["rows"])
    made = ["A first load of everybody, with the release. **Arithmetic from the slope above, not measured:** processor seconds spread over the cores, disk as in the largest run:", "",
            "| | persons | 2 cores | 16 cores | 64 cores | disk |", "|---|--:|--:|--:|--:|--:|"]
    for place, persons in PLACES.items():
        hours = (low + per * (persons - small["rows"])) / 3600
        made.append(f"| {place} | {persons:,} | " + " | ".join(_hours(hours / cores) for cores in (2, 16, 64)) + f" | {disk / big['rows'] * persons / 1000:,.0f} GB |")
    return [*made, ""]


def _hours(hours: float) -> str:
    return f"{hours:,.1f} h" if hours >= 1 else f"{hours * 60:,.0f} min" if hours * 60 >= 1 else f"{hours * 3600:,.0f} s"


def draw(found: list[dict[str, Any]], cost: Path = COST, shares: Path = SHARES) -> None:
    """Two pictures: how CPU time grows with the rows, and which steps the wall time of the largest run went to."""
    grown = [{"rows": one["rows"], "CPU seconds": _median(runs, "cpu"), "way": WAYS.get(way, way)} for one in found for way, runs in one["runs"].items()]
    chart = alt.Chart(alt.Data(values=grown), width=560, height=300).mark_line(point=True).properties(padding=ROOM)
    chart.encode(x=alt.X("rows:Q", scale=alt.Scale(type="log"), axis=alt.Axis(format="~s", values=[one["rows"] for one in found])), y=alt.Y("CPU seconds:Q", scale=alt.Scale(type="log")),
                 color=alt.Color("way:N", title=None, sort=None)).save(cost)
    spent = [{"way": WAYS[way], "step": step, "seconds": run["phases"][step], "turn": STEPS.index(step)} for way in ("ingest", "publish") if way in found[-1]["runs"]
             for run in [sorted(found[-1]["runs"][way], key=lambda r: r["wall"])[len(found[-1]["runs"][way]) // 2]] for step in STEPS if step in run["phases"]]
    bars = alt.Chart(alt.Data(values=spent), width=560, height=90, title=f"{found[-1]['rows']:,} rows", padding=ROOM).mark_bar()
    bars.encode(x=alt.X("seconds:Q"), y=alt.Y("way:N", title=None, sort=None), color=alt.Color("step:N", title=None, sort=list(STEPS)), order="turn:Q").save(shares)


def figures_of_page() -> list[str]:
    """All that stands between the marks."""
    return lines(figures()) + peers() + others()


def main() -> None:
    """Write the figures into the page, and its pictures beside it."""
    text = PAGE.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n" + "\n".join(figures_of_page()) + f"\n{END}{rest.partition(END)[2]}", "utf-8")
    draw(figures())


if __name__ == "__main__":
    main()
