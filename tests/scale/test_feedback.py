"""A pack of 100,000 rows is made within 500 MB: rows stream from landing through DuckDB into the workbook."""
from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests import packs
from tests.support import RESIDENCE, desk, project

pytestmark = pytest.mark.scale
ROWS, MEGABYTES = 100_000, 500
MAKE = f"""
import json, resource
from pipelines.feedback.pack import make
made = make({packs.BATCH!r})
print(json.dumps([made["rows"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024]))
"""


def test_the_memory_of_a_large_pack(tmp_path, monkeypatch):
    at = desk(tmp_path, project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "snapshot")))
    packs.drop(at, [(*row[:1], "", *row[2:]) for row in packs.people(ROWS)])
    packs.run(at)
    monkeypatch.setenv("LAKE_HOME", str(at.lake.home))
    monkeypatch.setenv("LAKE_PROJECT", str(at.project.root))
    done = subprocess.run([sys.executable, "-c", MAKE], capture_output=True, text=True, check=True)
    rows, peak = json.loads(done.stdout.splitlines()[-1])
    assert rows == ROWS and peak < MEGABYTES, f"{peak} MB"
