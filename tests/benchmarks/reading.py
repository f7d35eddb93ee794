"""What reading costs: GB18030 CSV with every check against DuckDB's own parallel reader on the same rows in UTF-8.

    python -m tests.benchmarks.reading 5000000

Both make a table of text columns. Ours finds the encoding and the dialect, verifies the hash of the landing file, decodes,
reads and closes the line balance; the baseline reads. They run in turn (A B A B …); the medians and their ratio are printed.
"""
from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import duckdb

from pipelines import landing, readers
from pipelines.contract import Source
from pipelines.settings import Lake
from pipelines.sql import connect

TURNS = 5
HEADER = ("公民身份号码", "姓名", "性别", "出生日期", "民族", "户籍区划代码", "住址", "手机", "更新日期")
ROW = """
    SELECT (640104190000000000 + i)::VARCHAR, '张' || chr((19968 + i % 8000)::INTEGER) || chr((20000 + i % 7000)::INTEGER), ['男','女'][i % 2 + 1],
        '1990-01-01', '汉族', '640104', '宁夏回族自治区银川市兴庆区解放西街' || (i % 900) || CASE WHEN i % 20 = 0 THEN '号,东"门"' ELSE '号' END,
        (13900000000 + i)::VARCHAR, '2026-11-01' FROM range({rows}) t(i)"""


def prepare(root: Path, rows: int) -> tuple[landing.Manifest, Source, Path]:
    """The same rows in landing as GB18030 and beside it as UTF-8."""
    utf8, gb = root / "rows.csv", root / "gb.csv"
    names = ", ".join(f'"{h}"' for h in HEADER)
    duckdb.sql(f"COPY (FROM ({ROW.format(rows=rows)}) t({names})) TO '{utf8}' (HEADER)")
    with open(utf8, encoding="utf-8", newline="") as read, open(gb, "w", encoding="gb18030", newline="") as write:
        while chunk := read.read(1 << 24):
            write.write(chunk)
    source = Source("s", 0, "d", "u", "csv")
    [got] = landing.receive(Lake.open(root / "lake"), SimpleNamespace(id="a.b"), source, [gb], "2026-11-01")
    return landing.read_manifest(got.folder), source, utf8


def ours(con: duckdb.DuckDBPyConnection, manifest: landing.Manifest, source: Source, root: Path) -> int:
    """Read the landing file with every check; returns the records."""
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        [unit] = readers.units(manifest, source, Path(scratch))
        cells = ", ".join(f"c{i}" for i in range(len(unit.header)))
        return readers.read(con, unit, lambda rows, ordinal="NULL::BIGINT": f"SELECT {cells} FROM {rows}", "t").records


def baseline(con: duckdb.DuckDBPyConnection, utf8: Path) -> int:
    """DuckDB's reader with nothing but the types given."""
    columns = "{" + ", ".join(f"c{i}: 'VARCHAR'" for i in range(len(HEADER))) + "}"
    con.execute(f"CREATE TABLE t AS FROM read_csv('{utf8}', auto_detect = false, header = true, columns = {columns})")
    return con.execute("SELECT count(*) FROM t").fetchone()[0]


def main(rows: int) -> None:
    """Print medians and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        manifest, source, utf8 = prepare(root, rows)
        ways: dict[str, Callable[[], int]] = {"ours": lambda: ours(con, manifest, source, root), "baseline": lambda: baseline(con, utf8)}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(TURNS + 1):
            for name, way in ways.items():
                con = connect()
                started = time.perf_counter()
                assert way() == rows
                if turn:      # the first turn warms the caches
                    seconds[name].append(time.perf_counter() - started)
                con.close()
    median = {name: statistics.median(times) for name, times in seconds.items()}
    size = manifest.files[0].counts.bytes
    for name, value in median.items():
        print(f"{name:9} {value:6.2f} s  {rows / value / 1e6:5.2f} million rows/s  {size / value / 1e6:6.0f} MB/s of GB18030")
    print(f"speed of ours: {median['baseline'] / median['ours']:.2f} × DuckDB's own reader")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
