"""What `check` has proved already: `~/.cache/government-lake/check-<project>.json` (XDG_CACHE_HOME), subject → digest of all it rests on.

A proof is a matter of text alone: contract, rules, code lists, macros, program and engine. As long as their digest stays, it need not be
made again, which takes half a second of processor time a dataset. The file belongs to the account, not to a lake; without it, or where
it cannot be kept, everything is proved. Batches are not judged by it: every run proves its rules itself.
"""
from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import duckdb

from pipelines import durable, governance
from pipelines.compiler import Plan
from pipelines.rules import declared_hash
from pipelines.semantics import reference
from pipelines.settings import Project, account_cache
from pipelines.version import code_version


def place(project: Project) -> Path:
    """Where the proofs of a project are kept."""
    return account_cache() / f"check-{hashlib.sha256(str(project.root).encode()).hexdigest()[:16]}.json"


class Proofs:
    """Proofs of one project.

    Args:
        file: where earlier ones are and new ones go; without it none are known and none are kept.
    """

    def __init__(self, project: Project, file: Path | None = None):
        self.project, self.file = project, file
        self._found: dict[str, str] = {}
        if file:
            with suppress(OSError, ValueError):
                self._found = dict(json.loads(file.read_text("utf-8")))
        self._held: dict[str, str] = {}

    def holds(self, subject: str, state: str) -> bool:
        """True when the subject was proved in this state."""
        if self._found.get(subject) != state:
            return False
        self._held[subject] = state
        return True

    def add(self, subject: str, state: str) -> None:
        """The subject was proved in this state."""
        self._held[subject] = state

    def keep(self) -> None:
        """Write what holds now in the place of what was there."""
        if self.file and self._held != self._found:
            with suppress(OSError):
                self.file.parent.mkdir(parents=True, exist_ok=True)
                durable.write(self.file, json.dumps(self._held, indent=1), 0o600)

    def of_dataset(self, plan: Plan, plans: dict[str, Plan]) -> str:
        """The digest of all that the proof of a dataset rests on: its own declarations and those of the datasets that its rules read."""
        read = sorted({d for rule in plan.across for d in rule.reads} & plans.keys())
        return self._digest([declared_hash(plans[d].dataset, self.project) for d in (plan.dataset.id, *read)])

    def of_views(self, plans: list[Plan]) -> str:
        """The digest of all that the proof of the views rests on: their files, every contract (what may be read, and how it is classified) and the tables of `governance`."""
        files = [(str(f.relative_to(self.project.views)), f.read_text("utf-8")) for f in sorted(self.project.views.rglob("*.sql"))]
        declared = [(p.dataset.id, declared_hash(p.dataset, self.project)) for p in plans]
        return self._digest([files, declared, [(t, d.columns) for t, d in governance.TABLES.items()]])

    def _digest(self, parts: list) -> str:
        return hashlib.sha256(repr([self._surroundings, parts]).encode()).hexdigest()

    @cached_property
    def _surroundings(self) -> list[str]:
        return [duckdb.__version__, code_version(), reference.versions_hash(self.project), *reference.macros(self.project)]
