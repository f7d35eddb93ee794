"""A short chaos run; `make test-chaos` does it and the long one. And: the run notices what it is made to notice."""
from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.chaos import content, run
from tests.support import REPOSITORY

KILLS, SEED = 6, 7
ONE, TWO, THREE = [1, [["120", "1"], ["120", "5"]]], [2, [["130", "2"], ["130", "6"]]], [3, [["140", "3"], ["140", "7"]]]
MIXED = [2, [["130", "2"], ["120", "5"]]]


@pytest.mark.chaos
def test_deaths_at_random_instants_lose_nothing_and_no_reader_sees_a_mixture(tmp_path):
    out = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.chaos.run", "--kills", str(KILLS), "--seed", str(SEED), "--out", str(out)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert out.exists(), done.stderr[-3000:]
    figures = json.loads(out.read_text())
    assert figures["faults"] == [] and figures["readers"]["errors"] == [], f"seed {SEED}"
    assert figures["kills"] == KILLS and figures["before"] and figures["after"]
    assert figures["readers"]["passes"] > KILLS and figures["readers"]["releases_seen"] > 1
    assert done.returncode == 0


@pytest.mark.parametrize(("seen", "good"), [
    ([ONE, TWO, THREE], True), ([ONE, THREE], True), ([TWO], True), ([], True),
    ([TWO, ONE], False), ([ONE, MIXED], False), ([ONE, [3, TWO[1]]], False),
])
def test_a_mixture_or_a_wrong_order_of_releases_is_noticed(tmp_path, seen, good):
    file = tmp_path / "reader.jsonl"
    lines = [{"seen": one} for one in seen] + [{"passes": 9, "held": 0, "errors": []}]
    file.write_text("\n".join(map(json.dumps, lines)))
    assert (run.judge_readers([file], [ONE, TWO, THREE])["errors"] == []) is good


def test_a_reader_that_died_is_noticed(tmp_path):
    (tmp_path / "reader.jsonl").write_text("")
    assert run.judge_readers([tmp_path / "reader.jsonl"], [ONE])["errors"] == ["a reader ended without its figures"]


def test_lakes_that_differ_are_told_apart():
    assert content.differences({"base": ["3", "7"], "x": 1}, {"base": ["3", "8"], "x": 1}) == ["base: ['3', '7'] <> ['3', '8']"]
