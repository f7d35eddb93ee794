"""Landing 贴源: what departments submitted, byte for byte, and a manifest of it.

landing/<dataset>/<source>/<part>/<batch_date>/<sequence>-r<revision>/{0001.csv, …, manifest.json}. A folder is written
beside (`.incoming/`) and renamed, so it is there whole or not at all, and it is never changed afterwards. A revision that
returned rows make holds the files of the one before and `correction-0001.xlsx`, … beside them. Original file
names may hold personal data: they stand in the manifest only, and in what the sender itself stated beside its files
(`submitted-manifest.json`, `0001.sha256`). What cannot be taken raises `WrongUse`; nothing is left.
"""
from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

from pipelines import durable, incoming
from pipelines.batch import WORD, BatchId, batch_date as resolve_date
from pipelines.contract import Dataset, Source
from pipelines.copying import NotTaken, Stated, copied, digest, keep
from pipelines.counts import Counts
from pipelines.settings import Lake, WrongUse

_PLACE = re.compile(r"(\d+)-r(\d+)")


@dataclass(frozen=True)
class File:
    """One submitted file. `rows`: how many records its sender says it holds."""

    number: int
    name: str = field(repr=False)      # as submitted; personal data, see the module's first lines
    stored: str
    sha256: str
    counts: Counts
    rows: int | None = None


@dataclass(frozen=True)
class Manifest:
    """What is known about one submission. `superseded`: a higher revision of the batch lies in landing.

    `corrections`: files of returned rows, in the order in which they came; `builds_on`: the revision whose files they correct.
    """

    dataset: str
    source: str
    department: str
    uscc: str
    part: str
    batch_date: str
    sequence: int
    revision: int
    received_at: str
    files: tuple[File, ...]
    folder: Path
    superseded: bool = False
    corrections: tuple[File, ...] = ()
    builds_on: int | None = None

    @property
    def everything(self) -> tuple[File, ...]:
        """The submitted files and the corrections of them."""
        return self.files + self.corrections

    @property
    def submission(self) -> int:
        """The revision whose files these are: addresses of all revisions of one submission name the same records."""
        return self.builds_on or self.revision

    @property
    def batch_id(self) -> str:
        return str(BatchId(self.dataset, self.source, self.part, self.batch_date, self.sequence))

    @property
    def content(self) -> tuple[str, ...]:
        """The submission's identity: its files' hashes, sorted."""
        return tuple(sorted(f.sha256 for f in self.everything))


@dataclass(frozen=True)
class Received:
    """The outcome of receiving one part. `duplicate`: these bytes were there already; nothing was written."""

    batch_id: str
    revision: int
    part: str
    duplicate: bool
    superseded: bool
    files: int
    bytes: int
    lines: int
    folder: Path


def folder(lake: Lake, batch_id: str, revision: int) -> Path:
    """Where a submission lies."""
    batch = BatchId.parse(batch_id)
    for word in (batch.dataset, batch.source, batch.part):
        _word(word, "batch id")
    return (lake.landing / batch.dataset / batch.source / batch.part / resolve_date(batch.batch_date)
            / f"{batch.sequence}-r{revision}")


def receive(lake: Lake, dataset: Dataset, source: Source, files: list[Path], batch_date: date | str, part: str | None = None,
            sequence: int | None = None, correct: bool = False, revision: int | None = None,
            stated: Mapping[Path, Stated] | None = None, manifest: bytes | None = None) -> list[Received]:
    """Copy what a department sent into landing.

    Args:
        lake: the lake.
        dataset: the dataset the files belong to.
        source: who sent them.
        files: regular files; links and folders are refused.
        batch_date: 报送日期.
        part: region or kind; without it the first group of the source's `part_pattern` in each file name, else `all`.
        sequence: position among submissions of one date. Without it, other bytes take the next free one.
        correct: the files replace the highest revision of `sequence` (without it, of the date's last submission).
        revision: the exact revision, for submissions that arrive out of order.
        stated: what is known of the files; a file that is another one, or has other bytes, is not taken.
        manifest: the sender's manifest of the folder, kept as evidence; no part of the submission's identity.

    Returns:
        One `Received` per part, ordered by part.

    Raises:
        NotTaken: a file cannot be read, changes, or is not what was stated; there is nothing to correct.
        WrongUse: a part, sequence or revision cannot be taken; the message lists what exists.
    """
    day = resolve_date(str(batch_date))
    if not files:
        raise WrongUse(f"{dataset.id} from {source.source} for {day}: no file was given.")
    home = lake.landing / dataset.id / source.source
    incoming.sweep(lake)
    parts = _parts(files, source, part, home)
    received = []
    for name, members in sorted(parts.items()):
        with incoming.own_folder(lake) as work:
            taken = take(members, work, stated)
            if manifest is not None:
                keep(work / "submitted-manifest.json", manifest)
            received.append(_settle(work, home / name / day, dataset, source, taken, (sequence, correct, revision)))
    return received


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a landing folder.

    Raises:
        WrongUse: there is none; the message lists the submissions beside it.
    """
    try:
        raw = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        beside = ", ".join(f"{s}-r{r}" for s, r in sorted(_held(folder.parent))) or "none"
        raise WrongUse(f"{'/'.join(folder.parts[-5:])} is not in landing. Beside it: {beside}.") from None
    except ValueError:
        raise WrongUse(f"The manifest of {'/'.join(folder.parts[-5:])} in landing is damaged. Run: python -m pipelines verify") from None
    files, corrections = (tuple(File(**{**f, "counts": Counts(**f["counts"])}) for f in raw.pop(kind, ())) for kind in ("files", "corrections"))
    above = [r for s, r in _held(folder.parent) if s == raw["sequence"] and r > raw["revision"]]
    return Manifest(**raw, files=files, corrections=corrections, folder=folder, superseded=bool(above))


def batches(lake: Lake, dataset_id: str) -> list[Manifest]:
    """All submissions of a dataset, by source, part, date, sequence and revision. The disk is the truth."""
    found = [read_manifest(p.parent) for p in (lake.landing / dataset_id).glob("*/*/*/*/manifest.json")]
    return sorted(found, key=lambda m: (m.source, m.part, m.batch_date, m.sequence, m.revision))


def places(lake: Lake, dataset_id: str) -> list[tuple[str, int, Path]]:
    """(batch_id, revision, folder) of every submission of a dataset, by the names of the folders alone."""
    found = []
    for home in sorted((lake.landing / dataset_id).glob("*/*/*")):
        found += [(str(BatchId(dataset_id, *home.parts[-3:], sequence)), revision, place) for (sequence, revision), place in sorted(_held(home).items())]
    return found


def _parts(files: list[Path], source: Source, part: str | None, home: Path) -> dict[str, list[Path]]:
    """The files of each part, in the order of their names."""
    ordered = sorted(files, key=lambda p: (p.name, str(p)))
    if part is not None or not source.part_pattern:
        return {_word(part or "all", "part"): ordered}
    parts: dict[str, list[Path]] = {}
    strange = 0
    for file in ordered:
        match = re.search(source.part_pattern, file.name)
        strange += match is None
        if match:
            parts.setdefault(_word(match[match.re.groups and 1] or "", "part"), []).append(file)
    if strange:
        known = ", ".join(sorted(p.name for p in home.glob("*"))) or "none yet"
        raise WrongUse(f"{home.parent.name} from {source.source}: the names of {strange} of {len(files)} files do not match "
                       f"part_pattern {source.part_pattern!r}. Parts in landing: {known}. Rename the files or give the part.")
    return parts


def _word(word: str, what: str) -> str:
    if not WORD.fullmatch(word) or word.startswith(".") or len(word) > 64:
        raise WrongUse(f"The {what} may hold letters, digits, '_', '-' and '.', not first, and at most 64 of them.")
    return word


def take(paths: list[Path], work: Path, stated: Mapping[Path, Stated] | None) -> tuple[File, ...]:
    """Copy files into `work`, numbered in their order.

    Raises:
        NotTaken: a file cannot be read, changes, or is not what was stated.
    """
    return tuple(_take(path, number, len(paths), work, (stated or {}).get(path, Stated())) for number, path in enumerate(paths, 1))


def _take(path: Path, number: int, of: int, work: Path, stated: Stated) -> File:
    stored, digest, counts = copied(path, f"File {number} of {of}", work / f"{number:04d}", stated)
    name = os.fsencode(path.name).decode("utf-8", "backslashreplace")
    return File(number, name, stored.name, digest, counts, stated.rows)


def _settle(work: Path, home: Path, dataset: Dataset, source: Source, files: tuple[File, ...],
            wish: tuple[int | None, bool, int | None]) -> Received:
    """Give the copied files their sequence and revision and move them in, unless the same bytes are there."""
    part = home.parent.name
    while True:
        held = _held(home)
        content = tuple(sorted(f.sha256 for f in files))
        place, duplicate = _place({k: read_manifest(p).content for k, p in held.items()}, content, *wish,
                                  what=f"{dataset.id}~{source.source}~{part}~{home.name}")
        if duplicate:
            there = read_manifest(held[place])
            if there.superseded or not _restated(there.files, files):
                for other in held.values():      # several revisions may share a file
                    _mend(read_manifest(other), work, files)
                return received(there, True)
            place = (place[0], place[1] + 1)
        final = home / f"{place[0]}-r{place[1]}"
        manifest = Manifest(dataset.id, source.source, source.department, source.uscc, part, home.name, *place,
                            datetime.now(UTC).isoformat(timespec="seconds"), files, final)
        _write_manifest(work, manifest)
        durable.make_folders(home, home.parents[3])
        try:
            os.rename(work, final)
        except OSError:
            if final.exists():      # another process took the place first: look again
                continue
            raise
        durable.sync(home)
        return received(read_manifest(final), False)


def newest(lake: Lake, batch_id: str) -> Manifest | None:
    """The highest revision of a batch in landing."""
    held = {r: place for (s, r), place in _held(folder(lake, batch_id, 1).parent).items() if s == BatchId.parse(batch_id).sequence}
    return read_manifest(held[max(held)]) if held else None


def amend(lake: Lake, before: Manifest, returned: tuple[File, ...], work: Path) -> Received:
    """Make the next revision of a batch: what `before`, its newest one, holds, and corrections of it.

    Args:
        returned: files in `work`, from `take`; those that `before` has already are left out.

    Returns:
        The new revision, or `before` as a duplicate when nothing is new.
    """
    fresh = [f for f in returned if f.sha256 not in {c.sha256 for c in before.corrections}]
    if not fresh:
        return received(before, True)
    with incoming.own_folder(lake) as made:
        for kept in before.folder.iterdir():
            if kept.name != "manifest.json":
                durable.link(kept, made / kept.name)
        added = []
        for number, file in enumerate(fresh, len(before.corrections) + 1):
            for path in work.glob(f"{file.number:04d}.*"):
                os.rename(path, made / f"correction-{number:04d}{path.name[4:]}")
            added.append(replace(file, number=number, stored=f"correction-{number:04d}{file.stored[4:]}"))
        final = before.folder.with_name(f"{before.sequence}-r{before.revision + 1}")
        _write_manifest(made, replace(before, revision=before.revision + 1, received_at=datetime.now(UTC).isoformat(timespec="seconds"), folder=final,
                                      superseded=False, corrections=before.corrections + tuple(added), builds_on=before.submission))
        os.rename(made, final)
    durable.sync(final.parent)
    return received(read_manifest(final), False)


def _mend(there: Manifest, work: Path, files: tuple[File, ...]) -> None:
    """What was damaged on this disk since is put back from the same bytes, now that they came again."""
    copies = {f.sha256: work / f.stored for f in files}
    for file in there.everything:
        path = there.folder / file.stored
        if file.sha256 in copies and (not path.exists() or digest(path) != (file.sha256, file.counts.bytes)):
            mended = path.with_name(f".{path.name}.part")
            shutil.copy2(copies[file.sha256], mended)
            durable.replace(mended, path)


def _restated(there: tuple[File, ...], files: tuple[File, ...]) -> bool:
    """True when the sender now says another number of rows for the same bytes: a corrected statement is a correction."""
    before = {f.sha256: f.rows for f in there}
    return any(None not in (f.rows, before[f.sha256]) and f.rows != before[f.sha256] for f in files)


def _place(held: dict[tuple[int, int], tuple[str, ...]], content: tuple[str, ...], sequence: int | None, correct: bool,
           revision: int | None, what: str) -> tuple[tuple[int, int], bool]:
    """((sequence, revision), duplicate) for `content`, given what a date holds. The order of arrival does not matter
    when sequence and revision are given."""
    exists = f"{what} holds: {', '.join(f'{s}-r{r}' for s, r in sorted(held)) or 'nothing'}."
    if any(n is not None and n < 1 for n in (sequence, revision)) or (correct and revision is not None):
        raise WrongUse(f"{exists} Sequence and revision start at 1, and a correction takes the next revision by itself.")
    if sequence is None and revision is None and not correct:
        same = [place for place, other in held.items() if other == content]
        return (max(same), True) if same else ((max((s for s, _ in held), default=0) + 1, 1), False)
    if sequence is None:
        sequences = {s for s, _ in held} or {1}
        if len(sequences) > 1 and revision is not None:
            raise WrongUse(f"{exists} Say which sequence revision {revision} belongs to.")
        sequence = max(sequences)
    mine = {r: other for (s, r), other in held.items() if s == sequence}
    if correct and not mine:
        raise NotTaken("correction", f"{exists} There is no sequence {sequence} to correct.")
    if correct:
        top = max(mine)
        return ((sequence, top), True) if mine[top] == content else ((sequence, top + 1), False)
    same = [r for r, other in mine.items() if other == content and revision in (None, r)]
    if same:
        return (sequence, max(same)), True
    if (revision is None and mine) or revision in mine:
        raise WrongUse(f"{exists} Sequence {sequence}{f' revision {revision}' if revision else ''} was received with other bytes. "
                       "Mark the files as a correction, or give another sequence.")
    return (sequence, revision or 1), False


def _held(home: Path) -> dict[tuple[int, int], Path]:
    """(sequence, revision) → folder of what one date holds."""
    try:
        matches = [(m, home / name) for name in os.listdir(home) if (m := _PLACE.fullmatch(name))]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {(int(m[1]), int(m[2])): place for m, place in matches if (place / "manifest.json").exists()}


def received(manifest: Manifest, duplicate: bool) -> Received:
    """What is told of a submission that lies in landing."""
    return Received(manifest.batch_id, manifest.revision, manifest.part, duplicate, manifest.superseded, len(manifest.everything),
                    sum(f.counts.bytes for f in manifest.everything), sum(f.counts.lines for f in manifest.everything), manifest.folder)


def _write_manifest(work: Path, manifest: Manifest) -> None:
    content = asdict(manifest)
    del content["folder"], content["superseded"]
    with open(work / "manifest.json", "w", encoding="utf-8") as out:
        json.dump(content, out, ensure_ascii=False, indent=1)
        out.flush()
        os.fsync(out.fileno())
    durable.sync(work)
