"""What every step works with: the project, the lake, and its ledger."""
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pipelines import compiler, keys
from pipelines.compiler import Plan
from pipelines.contract import Dataset, dataset as read_dataset
from pipelines.ledger import Ledger
from pipelines.rules import declared_hash, rules
from pipelines.semantics import reference
from pipelines.settings import Lake, Project
from pipelines.version import code_version


@dataclass(frozen=True)
class Desk:
    """The project, the lake and the ledger a step works with."""

    project: Project
    lake: Lake

    @classmethod
    def open(cls) -> Desk:
        """The desk named by LAKE_PROJECT and LAKE_HOME."""
        return cls(Project.open(), Lake.open())

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.lake)

    def plan(self, dataset_id: str) -> Plan:
        """The compiled plan of one dataset."""
        found = read_dataset(dataset_id, self.project)
        return compiler.plan(found, rules(found, self.project))

    def stamp(self, dataset: Dataset) -> dict[str, str]:
        """What a batch is judged under: contract and rules, code lists, program, pseudonym key."""
        return {"contract_hash": declared_hash(dataset, self.project), "code_version": code_version(),
                "lists_hash": reference.versions_hash(self.project, self.ledger.added_codes()), "key_id": keys.key_id(self.lake)}
