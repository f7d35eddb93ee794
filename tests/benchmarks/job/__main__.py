"""How near the product comes to a hand-written script for the one file, with everything on.

    python -m tests.benchmarks.job ROWS [--turns 3] [--bench FOLDER [--peers polars pandas_gx …]] [--out FILE]

The job (README of this folder's `run.py`, `limit.py` and `data.py`) is done in turn by the script and by the product, ingest alone and with a release
(A B C A B C …), each in fresh processes; every run's results are compared with the truth. Wall time, CPU time of all processes and the peak of their memory
are taken from outside. With --bench, input, script and comparison are those of that folder (gen.py, peers/duckdb_limit, verify.py; BENCH_PYTHON has
their DuckDB); --peers names other tools of that folder's contenders.tsv, each installed once into an environment of its own. Figures go to --out as JSON, from which `report.py` makes the tables of docs/performance.md.
"""
from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.job import compare

OURS = "tests.benchmarks.job."
SEED = "20240601"
APART = ("derive",)      # sorting, which is no part of taking a file in
KEPT = ("landing", "base", "current", "releases")      # what stays on the disk


def measured(command: list[str], out: Path) -> dict[str, float]:
    """Wall and CPU seconds and the peak of resident memory (MB) of a command and all it starts; its output goes to `out`."""
    peak, done = [0], threading.Event()

    def watch(pid: int) -> None:
        while not done.wait(0.05):
            peak[0] = max(peak[0], sum(map(_resident, _family(pid))))

    started = time.monotonic()
    with open(out, "w") as file:
        process = subprocess.Popen(command, stdout=file, start_new_session=True)
        threading.Thread(target=watch, args=(process.pid,), daemon=True).start()
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    done.set()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return {"wall": round(wall, 2), "cpu": round(usage.ru_utime + usage.ru_stime, 2), "memory": round(max(peak[0] * os.sysconf("SC_PAGE_SIZE"), usage.ru_maxrss * 1024) / 1e6)}


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        try:
            for task in os.listdir(f"/proc/{one}/task"):
                found += [int(child) for child in Path(f"/proc/{one}/task/{task}/children").read_text().split()]
        except OSError:
            pass
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0


def _megabytes(folder: Path) -> float:
    return round(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6, 1)


def _data(rows: int, bench: Path | None, root: Path) -> Path:
    """The folder with the input, made once per number of rows."""
    folder = root / f"{rows}{'-given' if bench else ''}"
    if not (folder / "truth.json").exists():
        print(f"inventing {rows:,} rows …", flush=True)
        if bench:
            subprocess.run([sys.executable, str(bench / "gen.py"), str(rows), SEED, str(folder)], check=True, stdout=subprocess.DEVNULL)
        else:
            subprocess.run([sys.executable, "-m", f"{OURS}data", str(rows), str(folder)], check=True)
    return folder


def _peers(bench: Path, wanted: list[str], root: Path) -> dict[str, str]:
    """Contender → its command; `{input}` and `{outdir}` are still to be filled in."""
    listed = [line.split("\t") for line in (bench / "contenders.tsv").read_text("utf-8").splitlines() if line and not line.startswith("#")]
    found = {name: (needs, command) for name, needs, _, command in listed}
    if unknown := set(wanted) - found.keys():
        sys.exit(f"{bench}/contenders.tsv has no {', '.join(sorted(unknown))}. It has: {', '.join(found)}.")
    return {name: found[name][1].replace("{bench}", str(bench)).replace("{venv}", str(_installed(bench / found[name][0], root))) for name in wanted}


def _installed(needs: Path, root: Path) -> Path:
    """An environment with what a contender needs, made once."""
    folder = root / "peers" / needs.parent.name
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(folder / "bin" / "pip"), "install", "-q", "-r", str(needs)], check=True)
        (folder / "installed").touch()
    return folder


def _turn(way: str, data: Path, bench: Path | None, work: Path, peers: dict[str, str]) -> dict[str, Any]:
    """One run of one way, with its phases and what is wrong with its results."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    file, said = data / "person_gb18030.csv", work.with_suffix(".out")
    if way in peers:
        found = measured(["sh", "-c", peers[way].replace("{input}", str(file)).replace("{outdir}", str(work))], said)
        results = work
    elif way == "limit":
        script = [str(bench / "peers" / "duckdb_limit" / "run.py")] if bench else ["-m", f"{OURS}limit"]
        found = measured([sys.executable, *script, str(file), str(work)], said)
        results = work
    else:
        run = [sys.executable, "-m", f"{OURS}run"]
        subprocess.run([*run, "prepare", str(file), str(work)], check=True)
        found = measured([*run, way, str(file), str(work)], said)
        found["disk"] = {part: _megabytes(work / "lake" / part) for part in KEPT}
        with open(said, "w") as out:
            subprocess.run([*run, "results", str(file), str(work)], check=True, stdout=out)
        results = work / "results"
    lines = said.read_text().splitlines()
    found["phases"] = next((json.loads(line[7:line.rindex("}") + 1]) for line in lines if line.startswith("phases {")), {})
    found["wrong"] = [] if way in peers else compare.wrong(data, results, json.loads(lines[-1]))      # a peer names its files as it likes: its folder's own comparison knows
    if bench:
        told = subprocess.run([os.environ.get("BENCH_PYTHON", sys.executable), str(bench / "verify.py"), str(data), str(results), str(said)], capture_output=True, text=True)
        found["wrong"] += json.loads(told.stdout)["wrong"] if told.stdout else [told.stderr[-200:]]
    shutil.rmtree(work)
    return found


def main() -> int:
    """Run the turns, print medians and ratios, and keep the figures; 1 when any result is wrong."""
    asked = argparse.ArgumentParser()
    asked.add_argument("rows", type=int)
    asked.add_argument("--turns", type=int, default=3)
    asked.add_argument("--ways", nargs="+", default=["limit", "ingest", "publish"])
    asked.add_argument("--bench", type=Path)
    asked.add_argument("--peers", nargs="+", default=[])
    asked.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "lake-bench")
    asked.add_argument("--out", type=Path)
    given = asked.parse_args()
    if given.peers and not given.bench:
        asked.error("--peers stand in another folder: name it with --bench.")
    data, peers = _data(given.rows, given.bench, given.data), _peers(given.bench, given.peers, given.data) if given.peers else {}
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in [*given.ways, *peers]}
    for turn in range(given.turns):
        for way in runs:
            found = _turn(way, data, given.bench, given.data / "work", peers)
            runs[way].append(found)
            print(f"{way:8} {turn + 1}: wall {found['wall']:7.2f} s  cpu {found['cpu']:7.2f} s  memory {found['memory']:6,} MB  {'; '.join(found['wrong']) or 'right'}", flush=True)
    figures = {"rows": given.rows, "input": "given" if given.bench else "own", "machine": _machine(), "runs": runs, "load": os.getloadavg()[0]}
    print(*said(figures), sep="\n")
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(figures, indent=1))
    return int(any(run["wrong"] for one in runs.values() for run in one))


def said(figures: dict[str, Any]) -> list[str]:
    """Medians, ratios to the script, and phases, in lines. What `APART` names is stated beside the time it is taken from."""
    lines, limit = [], figures["runs"].get("limit")
    for way, runs in figures["runs"].items():
        wall, cpu, memory = (statistics.median(r[k] for r in runs) for k in ("wall", "cpu", "memory"))
        apart = statistics.median(sum(r["phases"].get(p, 0) for p in APART) for r in runs)
        ratio = f"  {(wall - apart) / statistics.median(r['wall'] for r in limit):.2f} × wall, {cpu / statistics.median(r['cpu'] for r in limit):.2f} × cpu of the script" if limit else ""
        lines.append(f"{way:8} {wall - apart:7.2f} s{f' (+ {apart:.2f} s sorting)' if apart else ''}, cpu {cpu:.2f} s, {memory:,.0f} MB, {figures['rows'] / wall:,.0f} rows/s{ratio}")
        lines.append(f"         {', '.join(f'{p} {s}' for p, s in sorted(runs, key=lambda r: r['wall'])[len(runs) // 2]['phases'].items())}")
    return lines


def _machine() -> str:
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} cores ({model}), {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
