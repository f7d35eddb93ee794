"""What a small change of a large table costs against loading it: the job's list as an upsert dataset, then 1 % and 0.1 % of its persons again.

    python -m tests.benchmarks.upsert ROWS [--folder FOLDER] [--out FILE]

Each load is a process of its own that goes the whole way: receive, stage, judge, commit and derive, checks, release. Starting it and importing
libraries stand apart. Processor seconds decide; wall seconds stand beside. At the end the published table is compared with the masked rows of a
whole derivation, and a lookup and a grouping are timed over one part and over parts and deltas.
"""
from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

JOB = Path(__file__).parent / "job"
DATASET, SOURCE = "population.register", "police"
LOADS = (("full", "2026-11-01", 1), ("1 %", "2026-11-02", 100), ("0.1 %", "2026-11-03", 1000))
LIMITS = {"1 %": 0.10, "0.1 %": 0.05}
QUESTIONS = {"lookup": f"SELECT * FROM {DATASET} WHERE person_id = '{{}}'", "count": f"SELECT count(*) FROM {DATASET}",
             "group by": f"SELECT region_code, sex_code, count(*) FROM {DATASET} GROUP BY ALL", "one county": f"SELECT sex_code, count(*) FROM {DATASET} WHERE region_code = '{{}}' GROUP BY ALL"}


def prepare(rows: int, folder: Path) -> None:
    """The three files, a project and a lake."""
    from contextlib import closing

    from pipelines.semantics import reference
    from pipelines.settings import Lake
    from pipelines.sql import connect
    from tests.benchmarks.job import data
    from tests.support import project

    data.make(rows, folder / "input")
    with open(folder / "input" / "person_gb18030.csv", "rb") as whole:
        header, others = whole.readline(), {day: open(folder / "input" / f"{day}.csv", "wb") for _, day, share in LOADS if share > 1}
        for file in others.values():
            file.write(header)
        for number, line in enumerate(whole):      # the same persons, as they were reported later
            for _, day, share in LOADS:
                if share > 1 and number % share == 7:
                    others[day].write(line.rstrip(b"\r\n").rpartition(b",")[0] + f",{day}\r\n".encode())
        for file in others.values():
            file.close()
    os.replace(folder / "input" / "person_gb18030.csv", folder / "input" / f"{LOADS[0][1]}.csv")
    contract = (JOB / "contract.yaml").read_text("utf-8").replace("{property: load, value: snapshot}", "{property: load, value: upsert}")
    made = project(folder / "project", population__register=contract)
    (made.expectations / "population").mkdir()
    shutil.copy(JOB / "rules.yaml", made.expectations / "population" / "register.yaml")
    with closing(connect()) as con:
        reference.ready(con, made, Lake.open(folder / "lake").staging)


def load(folder: Path, day: str) -> None:
    """One load in this process; prints what it cost."""
    started, cpu = time.perf_counter(), time.process_time()
    from pipelines import gate, ledger_tables as tables, steps
    from pipelines.desk import Desk

    gate.suite.great_expectations()
    imported = {"wall": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    inbox = Path(os.environ["LAKE_HOME"]) / "inbox" / DATASET / SOURCE / day
    inbox.mkdir(parents=True)
    shutil.copy(folder / "input" / f"{day}.csv", inbox / "person.csv")
    phases, seen = {}, (time.perf_counter(), time.process_time())

    def done(phase: str) -> None:
        nonlocal seen
        now = (time.perf_counter(), time.process_time())
        phases[phase] = {"wall": round(now[0] - seen[0], 3), "cpu": round(now[1] - seen[1], 3)}
        seen = now

    keys = steps.receive(DATASET)
    done("receive")
    keys = steps.stage(DATASET, keys)
    done("stage")
    keys = steps.judge(DATASET, keys)
    assert len(keys) == 1, "the gate holds the batch"
    done("judge")
    counts = steps.commit(DATASET, keys)
    done("commit and derive")
    steps.release()
    done("checks and release")
    ledger = [(r["step"], round(r["seconds"], 2)) for r in Desk.open().ledger.rows(tables.steps.select().order_by(tables.steps.c.id))]
    print(json.dumps({"imports": imported, "phases": phases, "cpu": sum(p["cpu"] for p in phases.values()), "wall": sum(p["wall"] for p in phases.values()),
                      "rows": counts["accepted"], "current": counts["current_rows"], "ledger": ledger,
                      "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))


def ask(folder: Path, whole: bool) -> None:
    """Time questions to the release that is shown, and print a digest of its rows; processor milliseconds, the median of seven."""
    import duckdb

    from pipelines import masks, published
    from pipelines.desk import Desk

    at, found = Desk.open(), {}
    with duckdb.connect(str(at.lake.database), read_only=True) as con:
        person, region = con.execute(f"SELECT person_id, region_code FROM {DATASET} LIMIT 1 OFFSET 4321").fetchone()
        for what, sql in QUESTIONS.items():
            times = []
            for _ in range(7):
                started = time.process_time()
                con.execute(sql.format(person if what == "lookup" else region)).fetchall()
                times.append((time.process_time() - started) * 1000)
            found[what] = round(sorted(times)[3], 1)
        found["digest"] = con.execute(f"SELECT count(*)::VARCHAR || '/' || sum(hash(t))::VARCHAR FROM {DATASET} t").fetchone()[0]
    if whole:
        from pipelines import base, current
        from pipelines.committing import quarantine_file
        from pipelines.settings import Lake

        plan, apart = at.plan(DATASET), Lake.open(folder / "apart")
        held = base.state(at.lake, plan)
        files = {b: quarantine_file(at.lake, b, r) for b, r in held.batches.items()}
        shutil.copytree(at.lake.keys, apart.keys, dirs_exist_ok=True)
        state = current.derive(apart, plan, held, {b: f for b, f in files.items() if f.exists()}, whole=True)
        engine = published.Engine(apart, at.project)
        made = published._masked(engine, plan, masks.published(plan), state)
        found["digest of the whole"] = engine.con.execute(f"SELECT count(*)::VARCHAR || '/' || sum(hash(t))::VARCHAR FROM ({made.delta.replace('{rows}', state.relation)}) t").fetchone()[0]
        engine.close()
        shutil.rmtree(folder / "apart")
    print(json.dumps(found))


def run(rows: int, folder: Path) -> dict:
    """Everything once, each load in a process of its own."""
    prepared = folder / "project"
    if not prepared.exists():
        prepare(rows, folder)
    shutil.rmtree(folder / "lake", ignore_errors=True)
    loads, questions = {}, {}
    for what, day, _ in LOADS:
        loads[what] = _child(folder, "load", day)
        questions[what] = _child(folder, "ask", *(["--whole"] if what == LOADS[-1][0] else []))
    shares = {what: {kind: round(loads[what][kind] / loads["full"][kind], 4) for kind in ("cpu", "wall")} for what in LIMITS}
    return {"rows": rows, "loads": loads, "questions": questions, "shares": shares, "limits": LIMITS,
            "held": {what: shares[what]["cpu"] <= limit for what, limit in LIMITS.items()},
            "equal": questions["0.1 %"]["digest"] == questions["0.1 %"]["digest of the whole"]}


def _child(folder: Path, *what: str) -> dict:
    made = subprocess.run([sys.executable, "-m", "tests.benchmarks.upsert", "0", "--folder", str(folder), "--do", *what], check=True, capture_output=True, text=True)
    return json.loads(made.stdout.splitlines()[-1])


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("rows", type=int)
    asked.add_argument("--folder", type=Path, default=None)
    asked.add_argument("--out", type=Path, default=None)
    asked.add_argument("--do", nargs="+", default=None)
    asked.add_argument("--whole", action="store_true")
    options = asked.parse_args()
    folder = (options.folder or Path(tempfile.gettempdir()) / f"upsert-{options.rows}").resolve()
    os.environ |= {"LAKE_HOME": str(folder / "lake"), "LAKE_PROJECT": str(folder / "project"), "LAKE_SETTLE_SECONDS": "0", "LAKE_MEMORY": os.environ.get("LAKE_MEMORY", "4GB")}
    if options.do:
        load(folder, options.do[1]) if options.do[0] == "load" else ask(folder, options.whole)
        return
    folder.mkdir(parents=True, exist_ok=True)
    found = run(options.rows, folder)
    text = json.dumps(found, ensure_ascii=False, indent=1)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
