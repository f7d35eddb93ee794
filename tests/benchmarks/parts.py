"""Where a row's time goes: the CPU time of every part of the job, measured inside one process, statement by statement.

    python -m tests.benchmarks.parts ROWS [--out FILE]      measures a tenth of the rows, then all
    python -m tests.benchmarks.parts table                  docs/performance.md, from what is in tests/benchmarks/results/parts.json

The difference of the two sizes tells what a row costs, the rest what is paid whatever the rows. Every statement that DuckDB runs is timed from outside;
`PARTS` says what each belongs to, and what no statement explains is Python's. The four parts of the pass are one statement: they are measured alone,
over the same rows.
"""
from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.job import data, run
from tests.benchmarks.job.__main__ import OURS, _machine
from tests.benchmarks.report import PAGE, RESULTS

BEGIN, END = "<!-- parts -->", "<!-- end of parts -->"
# step, what its statements look like (None: all that is left), what that is
PARTS = (
    ("receive", None, "copying into landing, SHA-256, counts of lines and quotes"),
    ("stage", r"CREATE TABLE unit_", "the pass: parsing, standardising, pseudonyms, rules"),
    ("stage", r"shared|TABLE hashes|CREATE TABLE dropped|DELETE FROM", "repeated keys"),
    ("stage", r"COPY .*accepted/rows\.parquet", "writing accepted rows"),
    ("stage", r"masks\.parquet|quarantine\.parquet|FROM staged|rule_counts", "quarantine, masks, counts"),
    ("stage", None, "decoding GB 18030, rules proved"),
    ("judge", r"SELECT count", "Great Expectations over the masks"),
    ("judge", None, "its suite, result and pages"),
    ("commit", r"rows\.parquet|repeated|CREATE TABLE", "`current`: the newest per key, sorted"),
    ("commit", None, "Iceberg, ledger"),
    ("release", r"placed|FROM (modal_share|consecutive|share_true|last_digits|benford|equal_units)\(\)", "leads"),
    ("release", r"approx_count_distinct|GROUPING SETS", "profiles"),
    ("release", r"COPY .*releases/data/population", "masked files"),
    ("release", None, "other checks, views, database, pages"),
)
ALONE = ("parsing", "standardising", "pseudonyms", "rules")


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class _Timed:
    """A connection or result of DuckDB that enters the CPU time of its statements in `said`."""

    def __init__(self, of: Any, said: list[tuple[str, float]], sql: str = ""):
        self._of, self._said, self._sql = of, said, sql

    def execute(self, sql: str, *args: Any) -> _Timed:
        return self._timed(self._of.execute, " ".join(str(sql).split()), str(sql), *args)

    def fetchall(self) -> Any:
        return self._timed(self._of.fetchall, self._sql)

    def fetchone(self) -> Any:
        return self._timed(self._of.fetchone, self._sql)

    def _timed(self, call: Any, sql: str, *args: Any) -> Any:
        began = _cpu()
        try:
            found = call(*args)
        finally:
            self._said.append((sql, _cpu() - began))
        return _Timed(found, self._said, sql) if args else found

    def __enter__(self) -> _Timed:
        return self

    def __exit__(self, *_: object) -> None:
        self._of.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)


@contextmanager
def _recorded(said: list[tuple[str, float]]) -> Iterator[None]:
    import duckdb

    real = duckdb.connect
    duckdb.connect = lambda *args, **kwargs: _Timed(real(*args, **kwargs), said)
    try:
        yield
    finally:
        duckdb.connect = real


def one(file: Path, folder: Path) -> dict[str, float]:
    """CPU seconds of every part for one file: `PARTS` by their words, and those of the pass alone."""
    from pipelines import gate, steps

    gate.suite.great_expectations()
    found, keys = {}, None
    for step in dict.fromkeys(step for step, _, _ in PARTS):
        said: list[tuple[str, float]] = []
        began = _cpu()
        with _recorded(said):
            keys = steps.release() if step == "release" else getattr(steps, step)(run.DATASET, *([keys] if keys is not None else []))
        spent = _cpu() - began
        for _, pattern, words in (p for p in PARTS if p[0] == step):
            mine = [s for s in said if pattern and re.search(pattern, s[0])]
            assert mine or not pattern, f"no statement of {step} looks like {pattern}"
            said = [s for s in said if s not in mine]
            found[words] = sum(seconds for _, seconds in mine) if pattern else spent
            spent -= found[words]
    return found | _alone(file, folder)


def _alone(file: Path, folder: Path) -> dict[str, float]:
    """CPU seconds of what the pass consists of, each asked for alone."""
    from pipelines import compiler, landing, readers, staging
    from pipelines.desk import Desk
    from pipelines.readers import delimited

    at = Desk.open()
    plan = at.plan(run.DATASET)
    [manifest] = landing.batches(at.lake, run.DATASET)
    (folder / "alone").mkdir()
    [unit] = readers.units(manifest, plan.dataset.source(run.SOURCE), folder / "alone", [])
    columns = [c.name for c in plan.dataset.columns]
    cells = {c: f"c{i}" for i, c in enumerate(columns)}
    with staging.engine(at.lake, at.project, plan) as con:
        con.execute("CREATE TABLE waiver_keys(rule VARCHAR, key VARCHAR)")

        def asked(what: str, rows: str) -> float:
            began = _cpu()
            con.execute(f"SELECT {what} FROM {rows}").fetchall()
            return _cpu() - began

        lengths = ", ".join(f"max(strlen({c}))" for c in cells.values())
        parsing = asked(lengths, delimited.scan(unit))
        con.execute(f"CREATE TABLE texts AS FROM {delimited.scan(unit)}")
        values, masks = (", ".join(f'max("{c}")' for c in which) for which in (columns, [f"_failed_{i}" for i in range(plan.masks)] + [f"_applied_{i}" for i in range(plan.masks)]))
        standard = compiler.standardise(plan, cells, None, "texts", f"DATE '{run.DATE}'", "NULL::TINYINT")
        standardising = asked(values, f"({standard})")
        rules = asked(f"{values}, {masks}", f"({compiler.judge(plan, standard)})") - standardising
        kind = plan.pseudonyms[0][2]
        pseudonyms = asked(f"max({compiler.digest(kind, [cells[plan.pseudonyms[0][0]]])})", "texts")
    return dict(zip(ALONE, (parsing, standardising, pseudonyms, rules)))


def _measured(rows: int, root: Path) -> dict[str, float]:
    """`one` in a process of its own, over a file of so many rows."""
    folder = root / str(rows)
    data.make(rows, folder)
    file = folder / "person_gb18030.csv"
    (folder / "work").mkdir()
    subprocess.run([sys.executable, "-m", f"{OURS}run", "prepare", str(file), str(folder / "work")], check=True)
    return json.loads(subprocess.run([sys.executable, "-m", "tests.benchmarks.parts", "one", str(file), str(folder / "work")], check=True, capture_output=True, text=True)
                      .stdout.splitlines()[-1])


def lines(figures: dict[str, Any]) -> list[str]:
    """The tables, in Markdown."""
    rows, small, big = figures["rows"], *figures["seconds"]

    def row(words: str) -> str:
        each = (big[words] - small[words]) / (rows - figures["small"])
        return f"{1e6 * each:.2f} | {max(0.0, small[words] - each * figures['small']):.2f}"

    steps = {}
    for step, _, words in PARTS:
        steps[step] = steps.get(step, 0) + (big[words] - small[words]) / (rows - figures["small"]) * 1e6
    return [
        f"Between {figures['small']:,} and {rows:,} rows; {figures['machine']}, load {figures['load']:.1f}.", "",
        "| step | part | µs a row | s whatever the rows |", "|---|---|--:|--:|", *(f"| {step} | {words} | {row(words)} |" for step, _, words in PARTS),
        "", "A row in all: " + ", ".join(f"{step} {µs:.1f}" for step, µs in steps.items()) + f"; {sum(steps.values()):.1f} µs.", "",
        "| of the pass | µs a row |", "|---|--:|", *(f"| {words} | {row(words).partition(' |')[0]} |" for words in ALONE)]


def table() -> None:
    """Write the tables into the page."""
    head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    figures = json.loads((RESULTS / "parts.json").read_text())
    PAGE.write_text(f"{head}{BEGIN}\n" + "\n".join(lines(figures)) + f"\n{END}{rest.partition(END)[2]}", "utf-8")


def main() -> None:
    """Measure two sizes and keep the figures."""
    asked = argparse.ArgumentParser()
    asked.add_argument("rows", type=int)
    asked.add_argument("--out", type=Path, default=RESULTS / "parts.json")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as root:
        seconds = [_measured(rows, Path(root)) for rows in (given.rows // 10, given.rows)]
    figures = {"rows": given.rows, "small": given.rows // 10, "machine": _machine(), "load": os.getloadavg()[0], "measured": time.strftime("%Y-%m-%d"), "seconds": seconds}
    given.out.write_text(json.dumps(figures, indent=1, ensure_ascii=False))
    print(*lines(figures), sep="\n")


if __name__ == "__main__":
    if sys.argv[1] == "one":
        folder = Path(sys.argv[3])
        os.environ |= {"LAKE_HOME": str(folder / "lake"), "LAKE_PROJECT": str(folder / "project"), "LAKE_SETTLE_SECONDS": "0", "LAKE_MEMORY": os.environ.get("LAKE_MEMORY", "2GB")}
        print(json.dumps(one(Path(sys.argv[2]), folder), ensure_ascii=False))
    elif sys.argv[1] == "table":
        table()
    else:
        main()
