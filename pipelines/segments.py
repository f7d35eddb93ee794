"""What the Iceberg table of a dataset holds: its segments and their files, at its newest snapshot or at those of kept releases. Nothing is changed here."""
from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table

from pipelines.store.tables import local

BASELINE, FOLDED = "baseline~", "lake_folded"     # name of a baseline's segment; key of what its file says it folded
_MOST_MANIFESTS = 4_000

_read: dict[tuple[str, ...], tuple[str, dict[str, Version]]] = {}      # table → its newest metadata file and what that says
_manifests: dict[str, tuple[str, ...]] = {}      # manifest file → the data files it names


@dataclass(frozen=True)
class Version:
    """The files of one segment and the (batch_id, revision)s whose rows it holds or held.

    `before`: of a baseline, the first batch date that is not folded.
    """

    segment: str
    files: tuple[str, ...]
    rows: int
    batches: tuple[tuple[str, int], ...]
    before: str | None = None


@dataclass(frozen=True)
class State:
    """What the table holds: its snapshot (None: nothing was ever committed) and its segments by name."""

    snapshot: int | None
    segments: dict[str, Version]

    @property
    def batches(self) -> dict[str, int]:
        """batch_id → revision of every accepted batch."""
        return dict(b for v in self.segments.values() for b in v.batches)

    @property
    def before(self) -> str:
        """Batches dated before this day are folded; "" when none is."""
        return max((v.before for v in self.segments.values() if v.before), default="")


def of(known: Table) -> dict[str, Version]:
    """Segment → what the newest snapshot of a loaded table holds of it."""
    found: dict[str, list[tuple[str, int]]] = {}
    for task in known.scan().plan_files():
        found.setdefault(task.file.partition[0], []).append((local(task.file.file_path, known.io.properties), task.file.record_count))
    return {s: _version(s, tuple(sorted(p for p, _ in files)), sum(n for _, n in files)) for s, files in found.items()}


def newest(known: Table) -> dict[str, Version]:
    """`of`, read once per state of a table: several steps ask in a row, and manifests take 10 ms and more."""
    place, found = known.metadata_location, _read.get(known.name())
    if not found or found[0] != place:
        found = _read[known.name()] = (place, of(known))
    return dict(found[1])


def _version(segment: str, files: tuple[str, ...], rows: int) -> Version:
    """A batch's revision stands in the name of its folder; what a baseline folded, in its file."""
    if not segment.startswith(BASELINE):
        revision = int(Path(files[0]).parent.name.split("~r", 1)[1].partition("~")[0])
        return Version(segment, files, rows, ((segment, revision),))
    folded = json.loads(pq.read_metadata(files[0]).metadata[FOLDED.encode()])
    return Version(segment, files, rows, tuple((b, r) for b, r in folded["batches"]), folded["before"])


def data_files(known: Table, snapshots: Iterable[int] | None = None) -> set[str]:
    """The data files that some snapshots of the table name; all of them by default."""
    wanted = known.snapshots() if snapshots is None else [s for s in known.snapshots() if s.snapshot_id in snapshots]
    manifests = {manifest.manifest_path: manifest for snapshot in wanted for manifest in snapshot.manifests(known.io)}      # most stand in many snapshots
    return {local(address, known.io.properties) for path, manifest in manifests.items() for address in _named_in(path, manifest, known.io)}


def _named_in(path: str, manifest: ManifestFile, io: FileIO) -> tuple[str, ...]:
    """The addresses of the data files that a manifest names; it is never changed, and read once per process."""
    if path not in _manifests:
        if len(_manifests) >= _MOST_MANIFESTS:
            _manifests.clear()
        _manifests[path] = tuple(entry.data_file.file_path for entry in manifest.fetch_manifest_entry(io))
    return _manifests[path]


def folders(known: Table, snapshots: Iterable[int] | None = None) -> set[str]:
    """The data folders that some snapshots of the table name; all of them by default."""
    return {str(Path(f).parent) for f in data_files(known, snapshots)}


def metadata_files(known: Table) -> set[str]:
    """The metadata files that the table needs to be read at any of its snapshots."""
    found = {known.metadata_location}
    for snapshot in known.snapshots():
        found |= {snapshot.manifest_list, *(m.manifest_path for m in snapshot.manifests(known.io))}
    return {local(f, known.io.properties) for f in found}
