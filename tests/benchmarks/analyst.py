"""What analysts wait for: the query mix on the published files of many persons, beside the same on raw Parquet.

    python -m tests.benchmarks.analyst run 2000000 figures.json
    python -m tests.benchmarks.analyst table figures.json docs/analyst_speed.md

Rows of `current` are invented (`analyst_rows`) and go through the release itself: masks, order, row groups, manifest and views are the
real ones. Raw files hold the same published rows in no order, with DuckDB's own row groups. Both are asked in turn (A B A B …).
"""
from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from pipelines import current, published, release
from pipelines.compiler import Plan
from pipelines.contract import datasets
from pipelines.copying import digest
from pipelines.desk import Desk
from pipelines.settings import Lake, Project
from pipelines.sql import connect, name, names, text, texts
from tests.benchmarks import analyst_rows
from tests.support import REPOSITORY

THREADS, MEMORY = 2, "4GB"
AS_OF = "2026-11-01"
RAW = ("population.person", "legal_entity.enterprise", "legal_entity.key_person", "credit.judgment_defaulter")
LOOKUPS, TURNS = 30, 7
MIB = 2**20

LOOKUP = {
    "person by person_id": ("SELECT * FROM population.person WHERE person_id = ?", "person"),
    "insurance of a person": ("SELECT * FROM population.social_insurance WHERE person_id = ?", "person"),
    "enterprise by uscc": ("SELECT * FROM legal_entity.enterprise WHERE uscc = ?", "enterprise"),
    "offices of a person (not the key)": ("SELECT * FROM legal_entity.key_person WHERE person_id = ?", "person"),
}
COUNTY = {
    "county: persons by decade of birth and sex": "SELECT birth_year // 10, sex_code, count(*) FROM population.person WHERE hukou_region_code = ? GROUP BY ALL",
    "county: insured by kind and state": "SELECT insurance_type, status_code, count(*) FROM population.social_insurance WHERE region_code = ? GROUP BY ALL",
    "county: persons × offices × defaulters": """
        SELECT k.is_legal_rep, d.performance_code, count(*), count(DISTINCT p.person_id) FROM population.person p JOIN legal_entity.key_person k USING (person_id)
        JOIN credit.judgment_defaulter d USING (person_id) WHERE p.hukou_region_code = ? GROUP BY ALL""",
    "county: persons × offices × enterprises": """
        SELECT e.industry_section, count(*), count(DISTINCT p.person_id) FROM population.person p JOIN legal_entity.key_person k USING (person_id)
        JOIN legal_entity.enterprise e USING (uscc) WHERE p.hukou_region_code = ? GROUP BY ALL""",
    "county: enterprises × legal representatives × defaulters": """
        SELECT d.performance_code, count(DISTINCT e.uscc) FROM legal_entity.enterprise e JOIN legal_entity.key_person k ON k.uscc = e.uscc AND k.is_legal_rep = '1'
        JOIN credit.judgment_defaulter d ON d.person_id = k.person_id WHERE e.region_code = ? GROUP BY ALL""",
    "county: persons × insurance × employers": """
        SELECT e.industry_section, count(*) FROM population.person p JOIN population.social_insurance s ON s.person_id = p.person_id
        JOIN legal_entity.enterprise e ON e.uscc = s.employer_uscc WHERE p.hukou_region_code = ? GROUP BY ALL""",
}
WHOLE = {
    "everybody by county, decade of birth and sex": "SELECT hukou_region_code, birth_year // 10, sex_code, count(*) FROM population.person GROUP BY ALL",
    "insurance by county, kind and state": "SELECT region_code, insurance_type, status_code, count(*) FROM population.social_insurance GROUP BY ALL",
}
TARGETS = {**dict.fromkeys(LOOKUP, 0.05), **dict.fromkeys(COUNTY, 1.0), **dict.fromkeys(WHOLE, 5.0)}
BIND_TARGET = 0.1


def run(persons: int, figures: Path, keep: Path | None = None) -> None:
    """Make the lake, ask the mix, write the figures.

    Args:
        persons: how many.
        keep: folder of the lake, which stays and is used again; without it a temporary one.
    """
    with _folder(keep) as root:
        at = Desk(Project(REPOSITORY), Lake.open(root / "lake"))
        told = root / "published.json"
        if not told.exists():
            seconds = _publish(at, persons, root)
            told.write_text(json.dumps({"layout_seconds": seconds, "files": _files(at, root)}))
        found = {"persons": persons, "machine": _machine(), "threads": THREADS, "memory": MEMORY, "load_before": os.getloadavg()[0], **json.loads(told.read_text()),
                 "queries": _ask(at, root), "binds": _binds(at)}
        found |= {"operations": _operate(at, persons), "load_after": os.getloadavg()[0]}
    figures.write_text(json.dumps(found, ensure_ascii=False, indent=1))
    print(table(found))


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
    else:
        with tempfile.TemporaryDirectory() as made:
            yield Path(made)


def _publish(at: Desk, persons: int, root: Path) -> dict[str, float]:
    """Invent each dataset, publish its file, then the release over all of them; the seconds of each."""
    seconds: dict[str, float] = {}
    plans = {d.id: at.plan(d.id) for d in datasets(at.project)}
    states, engine = {}, published.Engine(at.lake, at.project)
    (root / "raw").mkdir()
    for dataset, made in analyst_rows.rows(persons).items():
        plan = plans[dataset]
        states[dataset] = _state(at, plan, made, persons)
        with _timed(seconds, f"publish {dataset}"):
            entry = published.dataset(engine, plan, states[dataset])
        if dataset in RAW:
            with connect(temp=root / "scratch") as con:
                con.execute(f"COPY (FROM read_parquet({texts(at.lake.releases / f['path'] for f in entry['files'])}) ORDER BY hash({names(n for n, _, _ in entry['columns'][:3])})) "
                            f"TO {text(root / 'raw' / f'{dataset}.parquet')} (FORMAT parquet, COMPRESSION zstd)")
        _empty(states[dataset], plan)
        print(f"{dataset}: {entry['rows']:,} rows, {sum(f['bytes'] for f in entry['files']) / MIB:,.0f} MB, published in {seconds[f'publish {dataset}']:.1f} s", file=sys.stderr, flush=True)
    engine.close()
    with _timed(seconds, "release, its files written already"):
        done = release.publish(at.lake, at.project, plans, states, at.ledger, "benchmark")
    assert not states.keys() & set(done["written"])
    return seconds


def _state(at: Desk, plan: Plan, made: analyst_rows.Rows, persons: int) -> current.Current:
    """A state of `current` in the order of its key, as `current.derive` leaves it."""
    folder = at.lake.current / plan.dataset.id / "v1"
    folder.mkdir(parents=True)
    own = {"_batch": text(f"{plan.dataset.id}~{plan.dataset.sources[0].source}~all~{AS_OF}~1"), "_file": "1", "_ordinal": "i + 1", "_source": text(plan.dataset.sources[0].source)}
    typed = [(n, t) for n, t in plan.physical() if n != "_op"] + [("_source", "VARCHAR"), ("_stale_since", "DATE")]
    listed = ", ".join(f"({(made.columns | own).get(n, 'NULL')})::{t} AS {name(n)}" for n, t in typed)
    with connect(temp=folder) as con:
        analyst_rows.install(con, persons, at.project.reference)
        order = f" ORDER BY {names(made.order)}" if made.order else ""
        con.execute(f"COPY (SELECT {listed} FROM (SELECT range AS i FROM range({made.numbers})) WHERE {made.where}{order}) TO {text(folder / 'rows.parquet')} (FORMAT parquet, COMPRESSION zstd)")
        rows = con.execute(f"SELECT count(*) FROM read_parquet({text(folder / 'rows.parquet')})").fetchone()[0]
    facts = {"rows": rows, "stale_rows": 0, "disagreements": {}, "dataset": plan.dataset.id, "version": "v1", "batches": [], "as_of": AS_OF}
    (folder / "current.json").write_text(json.dumps(facts))
    return current.Current(folder, facts)


def _empty(state: current.Current, plan: Plan) -> None:
    """As many rows of nothing in the place of the unmasked ones: nobody asks for them here, and the disk is needed."""
    typed = ", ".join(f"NULL::{t} AS {name(n)}" for n, t in [*((n, t) for n, t in plan.physical() if n != "_op"), ("_source", "VARCHAR"), ("_stale_since", "DATE")])
    with connect() as con:
        con.execute(f"COPY (SELECT {typed} FROM range({state.facts['rows']})) TO {text(state.rows)} (FORMAT parquet)")


def _ask(at: Desk, root: Path) -> dict[str, dict[str, Any]]:
    """Seconds of every query on either side, in turn; the files were read once before, and the first turn warms."""
    for file in [*root.glob("raw/*.parquet"), *at.lake.releases.glob("data/*/*/*.parquet")]:
        digest(file)
    sides = {"published": duckdb.connect(str(at.lake.database), read_only=True), "raw": duckdb.connect()}
    for con in sides.values():
        con.execute(f"SET threads = {THREADS}; SET memory_limit = '{MEMORY}'")
    for dataset in RAW:
        schema, _, table_ = dataset.partition(".")
        sides["raw"].execute(f"CREATE SCHEMA IF NOT EXISTS {schema}; CREATE VIEW {dataset} AS FROM read_parquet({text(root / 'raw' / f'{dataset}.parquet')})")
    given = {"person": _some(sides["published"], "person_id", "population.social_insurance"), "enterprise": _some(sides["published"], "uscc", "legal_entity.enterprise"),
             "county": [r[0] for r in sides["published"].execute("SELECT hukou_region_code FROM population.person GROUP BY ALL ORDER BY count(*)").fetchall()]}
    found = {}
    for query, (sql, kind) in LOOKUP.items():
        found[query] = _in_turn(sides, sql, given[kind], {"published": LOOKUPS, "raw": TURNS})
    middle = given["county"][len(given["county"]) // 2:] + given["county"]      # from the middle to the largest
    for query, sql in COUNTY.items():
        found[query] = _in_turn(sides, sql, middle, dict.fromkeys(sides, TURNS))
    for query, sql in WHOLE.items():
        found[query] = _in_turn(sides, sql, [None] * TURNS, dict.fromkeys(sides, TURNS - 2))
    return found


def _some(con: duckdb.DuckDBPyConnection, column: str, view: str) -> list[str]:
    return [r[0] for r in con.execute(f"SELECT {column} FROM {view} USING SAMPLE {LOOKUPS + 5} ROWS (reservoir, 7)").fetchall()]


def _in_turn(sides: dict[str, duckdb.DuckDBPyConnection], sql: str, given: list[Any], turns: dict[str, int]) -> dict[str, Any]:
    """Quantiles of wall and processor seconds per side; both must answer the same. What the raw side has not is asked of the other alone."""
    if "population.social_insurance" in sql:
        sides = {"published": sides["published"]}
    wall: dict[str, list[float]] = {side: [] for side in sides}
    cpu: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(max(turns.values()) + 1):
        answers = []
        for side, con in sides.items():
            if turn <= turns[side]:
                started, used = time.perf_counter(), time.process_time()
                rows = con.execute(sql, [given[turn % len(given)]] if given[0] else []).fetchall()
                if turn:
                    wall[side].append(time.perf_counter() - started)
                    cpu[side].append(time.process_time() - used)
                answers.append(sorted(map(str, rows)))
        assert answers[0] == answers[-1], sql
    return {side: {"p50": statistics.median(wall[side]), "p95": sorted(wall[side])[int(len(wall[side]) * 0.95)], "cpu": statistics.median(cpu[side]), "times": len(wall[side])} for side in sides}


def _binds(at: Desk) -> dict[str, float]:
    """View → median seconds to bind it, warm."""
    with duckdb.connect(str(at.lake.database), read_only=True) as con:
        con.execute(f"SET threads = {THREADS}; SET memory_limit = '{MEMORY}'")
        views = [f"{name(s)}.{name(v)}" for s, v in con.execute("SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal AND schema_name <> 'reference'").fetchall()]
        return {view.replace('"', ""): statistics.median(_seconds(lambda v=view: con.sql(f"FROM {v}").columns) for _ in range(3))
                for view in views}


def _operate(at: Desk, persons: int) -> dict[str, float]:
    """Seconds of a release in which one small dataset changed, of a rollback, and of removing an old release."""
    plans = {d.id: at.plan(d.id) for d in datasets(at.project)}
    states = {d: current.Current(f.parent, json.loads(f.read_text())) for d in analyst_rows.rows(persons) for f in at.lake.current.glob(f"{d}/v1/current.json")}
    small = "credit.abnormal_list"
    folder = at.lake.current / small / f"v{len(release.kept(at.lake)) + 1}"
    shutil.copytree(states[small].folder, folder)
    states[small] = current.Current(folder, states[small].facts | {"version": folder.name})
    seconds: dict[str, float] = {}
    with _timed(seconds, "release in which one small dataset changed"):
        done = release.publish(at.lake, at.project, plans, states, at.ledger, "benchmark")
    assert done["written"] == [small], done["written"]
    with _timed(seconds, "rollback"):
        release.rollback(at.lake, at.project, at.ledger)
    with _timed(seconds, "removing old releases"):
        release._sweep(at.lake, at.ledger)
    return seconds


def _files(at: Desk, root: Path) -> dict[str, dict[str, int]]:
    found = {}
    for dataset, relation in release.kept(at.lake)[-1]["relations"].items():
        raw = root / "raw" / f"{dataset}.parquet"
        if relation["kind"] == "dataset" and relation["rows"]:
            found[dataset] = {"rows": relation["rows"], "bytes": sum(f["bytes"] for f in relation["files"]), **({"raw_bytes": raw.stat().st_size} if raw.exists() else {})}
    return found


@contextmanager
def _timed(seconds: dict[str, float], what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[what] = time.perf_counter() - started


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _machine() -> dict[str, Any]:
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True).stdout.strip()
    return {"processor": model, "cores": len(os.sched_getaffinity(0)), "duckdb": duckdb.__version__, "commit": commit}


def table(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    machine, ms = found["machine"], lambda s: f"{s * 1000:,.0f}"
    lines = [f"{found['persons']:,} persons; {found['threads']} threads, {found['memory']}; {machine['processor']}, {machine['cores']} cores, DuckDB {machine['duckdb']}; "
             f"load of the machine {found['load_before']:.1f} before and {found['load_after']:.1f} after (about {found['threads']} are this run's own).", "",
             "| query (ms, warm) | published p50 | p95 | processor | raw p50 | raw p95 | wanted |", "|---|---|---|---|---|---|---|"]
    for query, sides in found["queries"].items():
        ours = sides["published"]
        raw = f"{ms(sides['raw']['p50'])} | {ms(sides['raw']['p95'])}" if "raw" in sides else "|"
        lines.append(f"| {query} | {ms(ours['p50'])} | {ms(ours['p95'])} | {ms(ours['cpu'])} | {raw} | {ms(TARGETS[query])} |")
    slowest = max(found["binds"], key=found["binds"].get)
    lines += ["", f"Binding a view: median {ms(statistics.median(found['binds'].values()))} ms over {len(found['binds'])} views, slowest {slowest} {ms(found['binds'][slowest])} ms; wanted {ms(BIND_TARGET)}.",
              "", "| what the pipeline does | seconds |", "|---|---|"]
    lines += [f"| {what} | {s:,.1f} |" for what, s in (found["layout_seconds"] | found["operations"]).items()]
    lines += ["", "| dataset | rows | MB published | bytes a row | MB raw |", "|---|---|---|---|---|"]
    for dataset, f in found["files"].items():
        lines.append(f"| {dataset} | {f['rows']:,} | {f['bytes'] / MIB:,.0f} | {f['bytes'] / f['rows']:.0f} | {f['raw_bytes'] / MIB:,.0f} |" if "raw_bytes" in f
                     else f"| {dataset} | {f['rows']:,} | {f['bytes'] / MIB:,.0f} | {f['bytes'] / f['rows']:.0f} | |")
    return "\n".join(lines)


def write_table(figures: Path, document: Path) -> None:
    """Put the figures between the two marks of a document."""
    begin, end = "<!-- figures -->", "<!-- end of figures -->"
    before, _, rest = document.read_text("utf-8").partition(begin)
    document.write_text(f"{before}{begin}\n{table(json.loads(figures.read_text()))}\n{end}{rest.partition(end)[2]}", "utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]) if len(sys.argv) > 4 else None)
    else:
        write_table(Path(sys.argv[2]), Path(sys.argv[3]))
