"""Pages of rules that two processes make: the same as by one, whatever becomes of the second."""
from __future__ import annotations

import os
import signal
import time

import pytest

from pipelines import site
from pipelines.site import rules
from tests.site.world import TODAY, world


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return world(tmp_path_factory.mktemp("rules"), 4)


@pytest.fixture
def two(monkeypatch):
    """Two processes for however few pages; of the second one nothing is left at the end."""
    children = []
    monkeypatch.setattr(rules, "_forked", lambda *asked, real=rules._forked: children.append(real(*asked)) or children[-1])
    monkeypatch.setattr(rules, "MANY", 1)
    monkeypatch.setattr(rules, "threads", lambda: 2)
    monkeypatch.setattr(rules, "PATIENCE", 0.5)
    yield monkeypatch
    assert len(children) == 1
    with pytest.raises(ChildProcessError):
        os.waitpid(children[0], os.WNOHANG)


def _made(at) -> dict[str, bytes]:
    """All files of the pages of rules, made anew; nothing half-written is left of the second process either."""
    folder = at.lake.reports / "rules"
    for file in [*folder.rglob("*.html"), *folder.rglob(".facts")]:
        file.unlink()
    site.build(at, today=TODAY)
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def _killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def _fails(*_):
    raise OSError


@pytest.mark.parametrize("becomes", [None, _fails, _killed, lambda *_: time.sleep(60)], ids=["works", "fails", "is killed", "stands still"])
def test_two_processes_make_what_one_makes(made, two, becomes):
    with two.context() as patch:
        patch.setattr(rules, "MANY", 1_000_000)
        alone = _made(made)
    assert len(alone) > 8
    if becomes:
        two.setattr(rules.RulePages, "backwards", becomes)
    assert _made(made) == alone


def test_the_second_process_works_and_stops_with_the_first(made, monkeypatch):
    done = []
    monkeypatch.setattr(rules.RulePages, "_bring", lambda _, dataset: done.append(dataset))
    pages = rules.RulePages(None, made.lake.reports, {})
    pages.backwards(["a", "b"], os.getppid())
    assert done == ["b", "a"]
    pages.backwards(["a", "b"], -1)
    assert done == ["b", "a"], "its parent is gone"


def test_a_build_that_fails_leaves_no_second_process(made, two):
    two.setattr(site.building.Site, "overview", _fails)
    with pytest.raises(OSError):
        _made(made)
