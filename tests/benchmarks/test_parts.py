"""The page's tables of single parts are those of the last measurement."""
from __future__ import annotations

import json

from tests.benchmarks import parts, report
from tests.benchmarks.job import data, run


def test_the_page_shows_what_was_measured():
    """`make bench-report` was run after the last figures came."""
    page, figures = report.PAGE.read_text("utf-8"), json.loads((report.RESULTS / "parts.json").read_text())
    assert page.partition(parts.BEGIN)[2].partition(parts.END)[0].strip().splitlines() == parts.lines(figures)
    assert {words for _, _, words in parts.PARTS} | set(parts.ALONE) == figures["seconds"][0].keys() == figures["seconds"][1].keys()


def test_every_part_is_measured(tmp_path, monkeypatch):
    """Statements are told apart by their text: one that is written otherwise would count for its neighbour."""
    for name, value in {"LAKE_HOME": tmp_path / "lake", "LAKE_PROJECT": tmp_path / "project", "LAKE_SETTLE_SECONDS": "0"}.items():
        monkeypatch.setenv(name, str(value))
    file = tmp_path / "data" / "person_gb18030.csv"
    data.make(3_000, file.parent)
    run.prepare(file, tmp_path)
    found = parts.one(file, tmp_path)
    assert found.keys() == {words for _, _, words in parts.PARTS} | set(parts.ALONE)
    assert all(found[words] > 0 for step, pattern, words in parts.PARTS if pattern and step != "judge"), found
