"""The page's tables of single parts are those of the last measurement."""
from __future__ import annotations

import json

from tests.benchmarks import parts, report


def test_the_page_shows_what_was_measured():
    """`make bench-report` was run after the last figures came."""
    page, figures = report.PAGE.read_text("utf-8"), json.loads((report.RESULTS / "parts.json").read_text())
    assert page.partition(parts.BEGIN)[2].partition(parts.END)[0].strip().splitlines() == parts.lines(figures)
    assert {words for _, _, words in parts.PARTS} | set(parts.ALONE) == figures["seconds"][0].keys() == figures["seconds"][1].keys()
