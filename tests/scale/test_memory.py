"""Ten million rows stay under LAKE_MEMORY: as one file, as a thousand, and a workbook of half a million.

Not part of `make test`: `make test-scale` runs it (about ten minutes, 6 GB of disk). The peak is the resident memory of
the whole process tree, sampled, so that an extractor's child counts.
"""
from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import duckdb
import psutil
import pytest

from tests.support import HEADER, REPOSITORY, RESIDENCE, project

pytestmark = pytest.mark.scale
LIMIT_MB = 2_048
ROWS = int(os.environ.get("LAKE_SCALE_ROWS", 10_000_000))
BOOK_ROWS = ROWS // 20
DATE = "2026-11-01"

# Distinct valid numbers: division, a birth date, a sequence of three digits, the check character of GB 11643.
PERSONS = """
    WITH first AS (
        SELECT i, '640104' || strftime(DATE '1950-01-01' + (i // 999)::INTEGER, '%Y%m%d') || lpad((i % 999 + 1)::VARCHAR, 3, '0') AS f,
            (DATE '1950-01-01' + (i // 999)::INTEGER)::VARCHAR AS birth FROM range({start}, {end}) t(i))
    SELECT f || '10X98765432'[list_sum(list_transform(range(1, 18), lambda p: f[p]::INTEGER * [7,9,10,5,8,4,2,1,6,3,7,9,10,5,8,4,2][p]))::INTEGER % 11 + 1]
        AS "公民身份号码", '张' || ['伟','芳','娜','敏','静','丽','强','磊'][i % 8 + 1] AS "姓名", birth AS csrq, '640104' AS "居住地区划", '有效' AS "状态", '' AS "操作"
    FROM first ORDER BY i"""


def write(folder: Path, files: int) -> None:
    """`ROWS` rows in so many CSV files, as a department drops them."""
    folder.mkdir(parents=True)
    con = duckdb.connect()
    con.execute("SET enable_progress_bar = false")
    share = -(-ROWS // files)
    for n in range(files):
        select = PERSONS.format(start=n * share, end=min(ROWS, (n + 1) * share))
        con.execute(f"COPY ({select}) TO '{folder}/640100-{n:04d}.csv' (HEADER, DELIMITER ',')")
    (folder / ".done").touch()


def write_workbook(folder: Path) -> None:
    """A workbook of `BOOK_ROWS` rows and twice the columns, with inline strings."""
    folder.mkdir(parents=True)
    rows = duckdb.sql(PERSONS.format(start=0, end=BOOK_ROWS))
    types = ('<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType='
             '"application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" '
             'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" '
             'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>')
    relation = ('<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" '
                'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{0}" Target="{1}"/></Relationships>')
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    with zipfile.ZipFile(folder / "640100.xlsx", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as book:
        book.writestr("[Content_Types].xml", types)
        book.writestr("_rels/.rels", relation.format("officeDocument", "xl/workbook.xml"))
        book.writestr("xl/_rels/workbook.xml.rels", relation.format("worksheet", "worksheets/sheet1.xml"))
        book.writestr("xl/workbook.xml", f'<?xml version="1.0"?><workbook xmlns="{main}" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/'
                                         'relationships"><sheets><sheet name="Sheet1" sheetId="1" r:id="r1"/></sheets></workbook>')
        with book.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            sheet.write(f'<?xml version="1.0"?><worksheet xmlns="{main}"><sheetData>'.encode())
            sheet.write(_row(1, (*HEADER, *(f"其他{n}" for n in range(6)))))
            number = 1
            while batch := rows.fetchmany(10_000):
                sheet.write(b"".join(_row(number + i, (*row, *row)) for i, row in enumerate(batch, 1)))
                number += len(batch)
            sheet.write(b"</sheetData></worksheet>")
    (folder / ".done").touch()


def _row(number: int, cells: tuple) -> bytes:
    return (f'<row r="{number}">' + "".join(f'<c r="{chr(65 + i)}{number}" t="inlineStr"><is><t>{c}</t></is></c>' for i, c in enumerate(cells)) + "</row>").encode()


def peak_of(command: list[str], environment: dict[str, str]) -> tuple[subprocess.CompletedProcess, int]:
    """Run a command; returns what it printed and the peak of its tree's resident memory in MB."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak, done = 0, threading.Event()

    def sample() -> None:
        nonlocal peak
        root = psutil.Process(process.pid)
        while not done.is_set():
            try:
                peak = max(peak, sum(p.memory_info().rss for p in (root, *root.children(recursive=True))))
            except psutil.Error:
                pass
            time.sleep(0.05)

    watch = threading.Thread(target=sample)
    watch.start()
    out, err = process.communicate()
    done.set()
    watch.join()
    return subprocess.CompletedProcess(command, process.returncode, out, err), peak >> 20


@pytest.mark.parametrize("form", ["one file", "thousand files", "workbook"])
def test_memory_is_bounded(tmp_path, form):
    made = project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert").replace("format: csv", "format: auto"))
    inbox = tmp_path / "lake" / "inbox" / "population.residence" / "police" / DATE
    if form == "workbook":
        write_workbook(inbox)
    else:
        write(inbox, 1 if form == "one file" else 1_000)
    environment = {**os.environ, "LAKE_HOME": str(tmp_path / "lake"), "LAKE_PROJECT": str(made.root), "PYTHONPATH": str(REPOSITORY),
                   "LAKE_MEMORY": f"{LIMIT_MB}MB"}
    started = time.monotonic()
    done, peak = peak_of([sys.executable, "-m", "pipelines", "ingest", "population.residence", "--json"], environment)
    print(f"{form}: {peak:,} MB, {time.monotonic() - started:.0f} s")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = BOOK_ROWS if form == "workbook" else ROWS
    assert f'"current_rows": {rows}' in done.stdout
    assert peak < LIMIT_MB
