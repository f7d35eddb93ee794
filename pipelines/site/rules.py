"""The pages of rules, rules/<dataset>/<rule>.html: thousands of them after a first release or a change of the program, none on most days.

rules/<dataset>/.facts carries what all pages of one dataset were made from and is written after them; as long as that stays, none of them is looked at.
Many are made by two processes: the second one only renders what this one has read, and whatever it did not finish is made here.
"""
from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from pipelines.site import charts, rendering
from pipelines.site.facts import Facts, Row
from pipelines.sql import threads

TOP_COUNTIES = 30
MANY = 500      # pages; below it a second process takes longer than it saves
PATIENCE = 30      # seconds for the pages of one dataset
_RATE, _LIMIT = ("成立率", "Pass rate"), ("下限", "At least")


class RulePages:
    """The pages of the rules of one moment."""

    def __init__(self, facts: Facts, reports: Path, names: dict[str, str]):
        self.facts, self.reports, self.names = facts, reports, names

    def all(self) -> list[Path]:
        """Bring all of them up to date."""
        for dataset in self.facts.rules:
            self._bring(dataset)
        return [page for dataset in self.facts.rules for page in self._wanted(dataset)]

    def waiting(self) -> list[str]:
        """The datasets whose pages are not what they would be made now."""
        return [dataset for dataset in self.facts.rules if not self._stands(dataset)]

    def backwards(self, datasets: list[str], parent: int) -> None:
        """Bring those of some datasets up to date, the last ones first, as long as `parent` lives: it begins with the first ones when it has done all else."""
        for dataset in reversed(datasets):
            if os.getppid() != parent:
                break
            self._bring(dataset)

    @cached_property
    def _stamps(self) -> dict[str, str]:
        """Dataset → a digest of what its pages are made from."""
        facts = self.facts
        return {dataset: rendering.digest_of(self.names.get(dataset), [(r, facts.history.get((dataset, r["rule"])), facts.counties.get((dataset, r["rule"]))) for r in rows])
                for dataset, rows in facts.rules.items()}

    def _folder(self, dataset: str) -> Path:
        return self.reports / "rules" / dataset

    def _wanted(self, dataset: str) -> set[Path]:
        folder = self._folder(dataset)
        return {folder / f"{r['rule']}.html" for r in self.facts.rules[dataset]}

    def _stands(self, dataset: str) -> bool:
        folder = self._folder(dataset)
        return rendering.head(folder / ".facts") == self._stamps[dataset] and self._wanted(dataset) <= set(folder.glob("*.html"))

    def _bring(self, dataset: str) -> None:
        if not self._stands(dataset):
            rendering.write_all(self._page(r) for r in self.facts.rules[dataset])
            rendering.put(self._folder(dataset) / ".facts", self._stamps[dataset].encode())

    def _page(self, r: Row) -> tuple[Path, bytes | None]:
        key = r["dataset"], r["rule"]
        history, counties = list(self.facts.history.get(key, {}).values()), self.facts.counties.get(key, [])
        lines = charts.lines([h["month"] for h in history], [(_RATE, [h["pass_rate"] for h in history]), (_LIMIT, [h["at_least"] for h in history])], (_LIMIT,))
        page = self._folder(r["dataset"]) / f"{r['rule']}.html"
        return page, rendering.render(
            self.reports, page, "rule.html.j2", stamped=True, r=r,
            name=self.names.get(r["dataset"], r["dataset"]), history=history, newest=history[-1] if history else None, lines=lines,
            counties=counties[:TOP_COUNTIES], more=max(0, len(counties) - TOP_COUNTIES))


@contextmanager
def begun(pages: RulePages) -> Iterator[None]:
    """Let a second process begin with the pages of rules while the block runs, if they are many.

    It is forked: what it renders lies in memory. It holds the locks of this one as long as it runs, so that a death of this one lets nobody else in before it ends,
    which it then does after the dataset it is at. What it does not do, because it fails or is killed, `RulePages.all` does.
    """
    waiting = pages.waiting()
    many = sum(len(pages.facts.rules[dataset]) for dataset in waiting) >= MANY and threads() > 1
    child = _forked(pages, waiting) if many else None
    try:
        yield
    finally:
        if child is not None:
            _end(child)


def _forked(pages: RulePages, datasets: list[str]) -> int:
    """A process that makes the pages of some datasets and nothing else; no handler, buffer or connection of this one is touched by it."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        gc.freeze()      # what the first process had is not collected here: a connection would wait for threads that are not there
        for one in (signal.SIGINT, signal.SIGTERM):      # a handler of this process would do its work twice
            signal.signal(one, signal.SIG_DFL)
        pages.backwards(datasets, parent)
    finally:
        os._exit(0)


def _end(child: int) -> None:
    """Wait until the second process has done the dataset it is at; one that stands still is killed, all its pages being made."""
    end = time.monotonic() + PATIENCE
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(0.005)
