"""基础库: accepted row versions, append-only; one Iceberg table per dataset, identity partition `_batch`.

Files live under base/<dataset>/<batch_id>~r<revision>/. Accepting a batch moves its staged files there and commits
them in one transaction that also drops what an earlier revision left, so a re-run ends in the same rows. A kill
before the commit leaves files no snapshot names; the next accept of that batch replaces them.
"""
from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.expressions import EqualTo, In
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table, Transaction
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
)
from sqlalchemy.exc import IntegrityError

from pipelines import catalogue
from pipelines.compiler import Plan
from pipelines.settings import Lake, WrongUse

_TYPES = {"VARCHAR": StringType(), "DATE": DateType(), "BOOLEAN": BooleanType(), "INTEGER": IntegerType(),
          "SMALLINT": IntegerType(), "BIGINT": LongType(), "DOUBLE": DoubleType(), "TIMESTAMP": TimestampType()}


@dataclass(frozen=True)
class Version:
    """The files of one accepted batch."""

    batch_id: str
    files: tuple[str, ...]
    rows: int


def _iceberg_type(physical: str) -> IcebergType:
    if physical.startswith("DECIMAL("):
        precision, scale = physical[8:-1].split(",")
        return DecimalType(int(precision), int(scale))
    return _TYPES[physical]


def table(lake: Lake, plan: Plan) -> Table:
    """The dataset's Iceberg table, created or changed to today's contract.

    Raises:
        WrongUse: the contract gives a column another type than the table's rows have; `rebuild` is the way.
    """
    known, have, want = _known(lake, plan)
    changed = [f"{n} ({have[n]} → {want[n]})" for n in _retyped(have, want)]
    if changed and any(known.scan().plan_files()):
        raise WrongUse(f"{plan.dataset.id}: the contract changes the type of {', '.join(changed)}. Run: python -m pipelines rebuild {plan.dataset.id}")
    if changed or want.keys() - have.keys():
        with known.transaction() as change:
            _reshape(change, have, want)
        known = catalogue.iceberg(lake).load_table(known.name())
    return known


def _known(lake: Lake, plan: Plan) -> tuple[Table, dict[str, IcebergType], dict[str, IcebergType]]:
    """The table, the column types it has and those the contract wants."""
    found, identifier = catalogue.iceberg(lake), tuple(plan.dataset.id.split("."))
    try:
        known = found.load_table(identifier)
    except NoSuchTableError:
        known = _create(found, identifier, plan, lake)
    return known, {f.name: f.field_type for f in known.schema().fields}, {n: _iceberg_type(t) for n, t in plan.physical()}


def _retyped(have: dict[str, IcebergType], want: dict[str, IcebergType]) -> list[str]:
    return sorted(n for n, t in want.items() if n in have and have[n] != t)


def _reshape(change: Transaction, have: dict[str, IcebergType], want: dict[str, IcebergType]) -> None:
    """Add the columns that are new; a column of another type is a new one in place of the old."""
    retyped = _retyped(have, want)
    if retyped:
        with change.update_schema(allow_incompatible_changes=True) as update:
            for column in retyped:
                update.delete_column(column)
    with change.update_schema() as update:
        for column, kind in want.items():
            if column not in have or column in retyped:
                update.add_column(column, kind)


def _create(found: SqlCatalog, identifier: tuple[str, ...], plan: Plan, lake: Lake) -> Table:
    fields = [NestedField(i, n, _iceberg_type(t), required=False) for i, (n, t) in enumerate(plan.physical(), 1)]
    batch = next(f.field_id for f in fields if f.name == "_batch")
    spec = PartitionSpec(PartitionField(source_id=batch, field_id=1000, transform=IdentityTransform(), name="_batch"))
    try:
        found.create_namespace(identifier[0])
    except (NamespaceAlreadyExistsError, IntegrityError):
        pass  # another process made it between our look and our insert
    try:
        return found.create_table(identifier, Schema(*fields), location=f"file://{lake.base / plan.dataset.id}", partition_spec=spec)
    except (TableAlreadyExistsError, IntegrityError):
        return found.load_table(identifier)


def field_ids(lake: Lake, plan: Plan) -> dict[str, int]:
    """Base column → Iceberg field id."""
    return {f.name: f.field_id for f in table(lake, plan).schema().fields}


def accept(lake: Lake, plan: Plan, batch_id: str, revision: int, staged: Path) -> int:
    """Commit the staged files of one batch in place of any earlier revision; returns the snapshot id.

    Args:
        staged: the folder that holds `accepted/*.parquet`; it is moved into base.
    """
    target = lake.base / plan.dataset.id / "data" / f"{batch_id}~r{revision}"
    known = table(lake, plan)
    files = _move(staged, target)
    earlier = any(known.scan(EqualTo("_batch", batch_id)).plan_files())
    with known.transaction() as change:
        if earlier:
            change.delete(EqualTo("_batch", batch_id))
        change.add_files(files, check_duplicate_files=False)
    return known.current_snapshot().snapshot_id


class Replacement:
    """Today's columns and new files for some batches, in one commit or not at all; other batches keep their files.

    Raises:
        WrongUse: a column changes its type and the table holds other batches too; one column has one type.
    """

    def __init__(self, lake: Lake, plan: Plan, batch_ids: Iterable[str]):
        known, have, want = _known(lake, plan)
        self._change = known.transaction()
        self._folder = lake.base / plan.dataset.id / "data"
        self.retyped = _retyped(have, want)
        others = {task.file.partition[0] for task in known.scan().plan_files()} - set(batch_ids)
        if self.retyped and others:
            raise WrongUse(f"{plan.dataset.id}: the contract changes the type of {', '.join(self.retyped)}, which needs every accepted batch; "
                           f"{len(others)} would be left out. Run: python -m pipelines rebuild {plan.dataset.id}")
        if self.retyped or want.keys() - have.keys():
            _reshape(self._change, have, want)
        self.field_ids = {f.name: f.field_id for f in self._change.table_metadata.schema().fields}

    def commit(self, staged: dict[str, tuple[int, Path]], mark: str) -> None:
        """Put the staged files in place of what the table holds of these batches.

        Args:
            staged: batch_id → (revision, staged folder).
            mark: distinguishes the new folders from those they replace.
        """
        files = [f for b, (r, path) in sorted(staged.items()) for f in _move(path, self._folder / f"{b}~r{r}~{mark}")]
        self._change.delete(In("_batch", sorted(staged)))
        self._change.add_files(files, check_duplicate_files=False)
        self._change.commit_transaction()


def _move(staged: Path, target: Path) -> list[str]:
    """Move the accepted files into base, unless an earlier try did; returns their paths."""
    source = staged / "accepted"
    if source.exists():
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
    return sorted(str(p) for p in target.glob("*.parquet"))


def versions(lake: Lake, plan: Plan) -> dict[str, Version]:
    """batch_id → the files that the newest snapshot holds for it."""
    found: dict[str, list] = {}
    for task in table(lake, plan).scan().plan_files():
        found.setdefault(task.file.partition[0], []).append((task.file.file_path.removeprefix("file://"), task.file.record_count))
    return {b: Version(b, tuple(sorted(p for p, _ in files)), sum(n for _, n in files)) for b, files in found.items()}


def sweep(lake: Lake, plan: Plan) -> int:
    """Remove data folders that no current snapshot names (left by a kill or a replaced revision); returns how many."""
    named = {str(Path(f).parent) for v in versions(lake, plan).values() for f in v.files}
    folder = lake.base / plan.dataset.id / "data"
    orphans = [p for p in folder.glob("*") if str(p) not in named] if folder.exists() else []
    for orphan in orphans:
        shutil.rmtree(orphan)
    return len(orphans)
