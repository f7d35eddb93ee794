"""基础库: accepted row versions, append-only; one Iceberg table per dataset, identity partition `_segment`.

A segment is one batch, base/<dataset>/data/<batch_id>~r<revision>/, or the baseline that old batches were folded into,
…/baseline~<day>~<mark>/. Accepting a batch moves its staged files there and commits them in one transaction that also
drops what an earlier revision left, so a re-run ends in the same rows. A kill before the commit leaves files no
snapshot names; `sweep` removes what neither the table nor a kept release names, nor a staged batch waits to have committed.
"""
from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.expressions import In
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

from pipelines import appending, catalogue, durable, locks, segments
from pipelines.compiler import SEGMENT, Plan
from pipelines.segments import State
from pipelines.settings import Lake, WrongUse
from pipelines.store.tables import local

_NOTE = "segment.txt"      # in a staged folder, where its files go: a kill after the move must find the same place again
# Bounds cut to 16 characters, the default, do not tell one segment from another: pyiceberg would read every row of what it drops.
_WHOLE_NAMES = {f"write.metadata.metrics.column.{SEGMENT}": "full"}
_TYPES = {"VARCHAR": StringType(), "DATE": DateType(), "BOOLEAN": BooleanType(), "INTEGER": IntegerType(),
          "SMALLINT": IntegerType(), "BIGINT": LongType(), "DOUBLE": DoubleType(), "TIMESTAMP": TimestampType()}

_loaded: dict[tuple[SqlCatalog, tuple[str, ...]], Table] = {}


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
    known = _loaded.get((found, identifier))
    if known is None or known.metadata_location != catalogue.metadata_location(lake, identifier):      # metadata is read once per state of a table: that takes ten times as long
        try:
            known = found.load_table(identifier)
        except NoSuchTableError:
            known = _create(found, identifier, plan, lake)
        _loaded[found, identifier] = known
    return known, {f.name: f.field_type for f in known.schema().fields}, {n: _iceberg_type(t) for n, t in plan.stored()}


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
    fields = [NestedField(i, n, _iceberg_type(t), required=False) for i, (n, t) in enumerate(plan.stored(), 1)]
    segment = next(f.field_id for f in fields if f.name == SEGMENT)
    spec = PartitionSpec(PartitionField(source_id=segment, field_id=1000, transform=IdentityTransform(), name=SEGMENT))
    try:
        found.create_namespace(identifier[0])
    except (NamespaceAlreadyExistsError, IntegrityError):
        pass  # another process made it between our look and our insert
    try:
        return found.create_table(identifier, Schema(*fields), location=lake.address(lake.base / plan.dataset.id), partition_spec=spec,
                                  properties=_WHOLE_NAMES)
    except (TableAlreadyExistsError, IntegrityError):
        return found.load_table(identifier)


def field_ids(lake: Lake, plan: Plan) -> dict[str, int]:
    """Base column → Iceberg field id."""
    return {f.name: f.field_id for f in table(lake, plan).schema().fields}


def accept(lake: Lake, plan: Plan, staged: Mapping[str, tuple[int, Path]]) -> int:
    """Commit the staged files of some batches in place of any earlier revision of them, in one transaction; returns the snapshot id.

    Args:
        staged: batch_id → (revision, the folder that holds `accepted/*.parquet`); what the folder holds is moved into base.

    Raises:
        WrongUse: the accepted rows of a batch are gone; nothing is committed.
    """
    if lost := [batch_id for batch_id, (_, folder) in staged.items() if not whole(lake, plan.dataset.id, folder)]:
        raise WrongUse(f"{lost[0]}: what was staged of this batch is gone. Nothing was changed. Stage it anew: python -m pipelines ingest {plan.dataset.id}")
    known, data = table(lake, plan), _data(lake, plan)
    fresh = {batch_id: one for batch_id, one in staged.items() if not (one[1] / _NOTE).exists()}
    taken = segments.folders(known) if fresh else set()
    for batch_id, (revision, folder) in fresh.items():
        target = data / f"{batch_id}~r{revision}"
        if str(target) in taken:      # by an earlier commit or a kept release: never written over
            target = target.with_name(f"{target.name}~{secrets.token_hex(4)}")
        _beside(folder).write_text(target.name)
    durable.replace_all((_beside(folder), folder / _NOTE) for _, folder in fresh.values())
    return _exchange(lake, known, staged, _move({folder: data / (folder / _NOTE).read_text() for _, folder in staged.values()}))


def whole(lake: Lake, dataset_id: str, folder: Path) -> bool:
    """Are the accepted rows of a staged folder there: in it, or where a commit that died has moved them?"""
    note = folder / _NOTE
    return (folder / "accepted").exists() or (note.exists() and (lake.base / dataset_id / "data" / note.read_text()).exists())


def exchange(lake: Lake, plan: Plan, drop: Iterable[str], folder: Path) -> int:
    """Put the files of `folder`, which lies in the table's data folder, in the place of some segments; returns the snapshot id."""
    return _exchange(lake, table(lake, plan), drop, sorted(str(p) for p in folder.glob("*.parquet")))


def _exchange(lake: Lake, known: Table, drop: Iterable[str], files: list[str]) -> int:
    listed = sorted(drop)
    earlier = any(known.scan(In(SEGMENT, listed)).plan_files())
    locks.confirm(lake)
    with known.transaction() as change:
        if earlier:
            change.delete(In(SEGMENT, listed))
        appending.add(change, known.io, _addresses(lake, files))
    _sync_metadata(known)
    return known.current_snapshot().snapshot_id


def _sync_metadata(known: Table) -> None:
    """What pyiceberg wrote last reaches the disk; it does not see to that itself."""
    snapshot = known.current_snapshot()
    written = {known.metadata_location, snapshot.manifest_list, *(m.manifest_path for m in snapshot.manifests(known.io))}
    for path in sorted(local(p, known.io.properties) for p in written):
        durable.sync(Path(path))
    durable.sync(Path(local(known.metadata_location, known.io.properties)).parent)


class Replacement:
    """Today's columns and new files for some batches, in one commit or not at all; other batches keep their files.

    Raises:
        WrongUse: a column changes its type and the table holds other batches too; one column has one type.
    """

    def __init__(self, lake: Lake, plan: Plan, batch_ids: Iterable[str]):
        known, have, want = _known(lake, plan)
        self._lake, self._io, self._change = lake, known.io, known.transaction()
        self._folder, self._segments = _data(lake, plan), segments.of(known)
        self.before = State(None, self._segments).before
        self.retyped, given = _retyped(have, want), set(batch_ids)
        others = {s for s, v in self._segments.items() if not {b for b, _ in v.batches} <= given}
        if self.retyped and others:
            raise WrongUse(f"{plan.dataset.id}: the contract changes the type of {', '.join(self.retyped)}, which needs every accepted batch; "
                           f"{len(others)} would be left out. Run: python -m pipelines rebuild {plan.dataset.id}")
        if self.retyped or want.keys() - have.keys():
            _reshape(self._change, have, want)
        self.field_ids = {f.name: f.field_id for f in self._change.table_metadata.schema().fields}

    def commit(self, staged: dict[str, tuple[int, Path]], mark: str) -> None:
        """Put the staged files in place of what the table holds of these batches.

        Args:
            staged: batch_id → (revision, staged folder); of a folded batch only together with all of its baseline.
            mark: distinguishes the new folders from those they replace.
        """
        files = _move({path: self._folder / f"{b}~r{r}~{mark}" for b, (r, path) in sorted(staged.items())})
        replaced = {s for s, v in self._segments.items() if {b for b, _ in v.batches} <= staged.keys()}
        locks.confirm(self._lake)
        self._change.delete(In(SEGMENT, sorted(replaced | staged.keys())))
        appending.add(self._change, self._io, _addresses(self._lake, files))
        _sync_metadata(self._change.commit_transaction())


def _addresses(lake: Lake, files: list[str]) -> list[str]:
    """How the table is to name files that lie here."""
    return [lake.address(f) for f in files] if lake.store else files


def _data(lake: Lake, plan: Plan) -> Path:
    return lake.base / plan.dataset.id / "data"


def _beside(folder: Path) -> Path:
    return folder / f"{_NOTE}.part"


def _move(staged: Mapping[Path, Path]) -> list[str]:
    """Move the accepted files of staged folders into base, unless an earlier try did; returns their paths."""
    waiting = {folder / "accepted": target for folder, target in staged.items() if (folder / "accepted").exists()}
    for target in waiting.values():
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
    durable.replace_all(waiting.items())
    return [path for target in staged.values() for path in sorted(str(p) for p in target.glob("*.parquet"))]


def state(lake: Lake, plan: Plan) -> State:
    """What the newest snapshot of the table holds."""
    known = table(lake, plan)
    snapshot = known.current_snapshot()
    return State(snapshot.snapshot_id if snapshot else None, segments.newest(known))


def batches(lake: Lake, dataset_id: str) -> dict[str, int]:
    """batch_id → revision of every batch that base holds of a dataset."""
    try:
        known = catalogue.iceberg(lake).load_table(tuple(dataset_id.split(".")))
    except NoSuchTableError:
        return {}
    return State(None, segments.of(known)).batches


def sweep(lake: Lake, plan: Plan, pinned: Callable[[], set[int]]) -> None:
    """Remove data folders that neither the newest snapshot nor a pinned one names, nor a staged batch: what a commit that died has moved is nowhere else.

    They are left by a kill, or hold a revision that was replaced. The caller holds the dataset's lock.

    Args:
        pinned: tells the snapshots of kept releases; asked only when something may have to go.
    """
    known, folder = table(lake, plan), _data(lake, plan)
    newest = {str(Path(f).parent) for v in segments.newest(known).values() for f in v.files}
    newest |= {str(folder / note.read_text()) for note in lake.staging.glob(f"{plan.dataset.id}~*/{_NOTE}")}
    unnamed = [p for p in folder.glob("*") if str(p) not in newest] if folder.exists() else []
    if unnamed:
        kept = segments.folders(known, pinned())
        unnamed = [p for p in unnamed if str(p) not in kept]
    for orphan in unnamed:
        shutil.rmtree(orphan)


def expire(lake: Lake, plan: Plan, pinned: set[int]) -> int:
    """Forget the snapshots that no kept release pins, and remove the metadata files that nothing needs any more.

    Returns:
        How many snapshots were forgotten.
    """
    known = table(lake, plan)
    newest = known.current_snapshot()
    old = [s.snapshot_id for s in known.snapshots() if s.snapshot_id not in pinned | {newest.snapshot_id if newest else None}]
    if old:
        known.maintenance.expire_snapshots().by_ids(old).commit()
        known = table(lake, plan)
    needed = segments.metadata_files(known)
    for file in (lake.base / plan.dataset.id / "metadata").glob("*"):
        if str(file) not in needed:
            file.unlink()
    return len(old)
