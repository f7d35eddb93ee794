"""Inbox 收件箱: where departments drop files, and taking them out of it.

inbox/<dataset>/<source>/<batch date>/file, or …/<source>/file where its name (`date_pattern`) or a manifest tells the date;
`更正/` or `correction/` in the dated folder holds what replaces the date's last submission. What was taken moves into a
hidden folder beside it, which is renamed before it is removed: after a kill all of it is there again, or none.
"""
from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipelines import trouble as machine
from pipelines.contract import Dataset
from pipelines.copying import Identity, NotTaken
from pipelines.deliveries import Delivery, Place, Trouble, sort_out, trouble
from pipelines.folders import DONE, Folder, Seen, opened
from pipelines.settings import Lake
from pipelines.sidecars import CHECKSUM, FOLDER, MANIFEST

_TAKING, _TAKEN = ".taking-", ".taken-"


@dataclass(frozen=True)
class Found:
    """What one look at a dataset's inbox found: deliveries, by batch date and corrections last, and troubles."""

    deliveries: tuple[Delivery, ...]
    troubles: tuple[Trouble, ...]

    def fingerprints(self) -> dict[tuple, str]:
        """What somebody should act on → its batch date; a fingerprint changes when a file does."""
        ready = {("", d.source, d.batch_date, d.part, d.correct, *((s.name, s.identity) for s, _ in d.files)): d.batch_date for d in self.deliveries}
        return ready | {(t.code, t.source, t.batch_date, t.files, *t.seen): t.batch_date for t in self.troubles if t.code != "unsettled"}


def is_ready(fingerprint: tuple) -> bool:
    """True for the fingerprint of a delivery, False for that of a trouble."""
    return fingerprint[0] == ""


def look(lake: Lake, dataset: Dataset) -> Found:
    """What the inbox holds for one dataset. Nothing is changed."""
    deliveries: list[Delivery] = []
    troubles: list[Trouble] = []
    sources = {source.source: source for source in dataset.sources}
    home = lake.inbox / dataset.id
    try:
        with opened(home) as top:
            for name in top.folders if top else ():
                if name in sources:
                    _enter(Place(dataset, sources[name], home / name, ""), top, deliveries, troubles)
            troubles += _strangers(dataset, top, set(sources)) if top else []
    except NotTaken as error:
        troubles.append(trouble(dataset.id, "", "", error.code, 1, str(error)))
    deliveries.sort(key=lambda d: (d.batch_date, d.correct, d.source, d.part, str(d.folder)))
    return Found(tuple(deliveries), merged(troubles))


def _strangers(dataset: Dataset, top: Folder, known: set[str]) -> Iterator[Trouble]:
    """What lies beside the sources' folders, and links in their place."""
    for name in known & set(top.odd):
        yield trouble(dataset.id, name, "", "link", 1, "its folder")
    strange = len(top.files) + len(top.marks) + top.passing + len(set(top.folders) - known) + len(set(top.odd) - known)
    if strange:
        yield trouble(dataset.id, "", "", "source", strange, f"{strange} files or folders beside those of its sources")


def _enter(place: Place, above: Folder, deliveries: list[Delivery], troubles: list[Trouble]) -> None:
    """Add what lies in one folder of a source and in those below it."""
    try:
        with opened(place.path.name, above.handle) as folder:
            if folder is None:
                return
            ready, left = sort_out(folder, place)
            deliveries += ready
            troubles += [*left, *_left(folder, place)]
            for inner in filter(None, map(place.below, folder.folders)):
                _enter(inner, folder, deliveries, troubles)
    except NotTaken as error:
        troubles.append(place.trouble(error.code, 1, str(error)))


def _left(folder: Folder, place: Place) -> Iterator[Trouble]:
    """What lies in a folder of a source and is no file of data."""
    if folder.passing:
        yield place.trouble("unsettled", folder.passing, f"{folder.passing} files in transfer, by their names")
    for name in folder.odd:
        inner = place.below(name)
        yield place.trouble("link", 1, "a link, pipe or device", day=inner.day if inner else None)
    strange = sum(place.below(name) is None for name in folder.folders)
    if strange:
        yield place.trouble("link" if place.day else "batch_date", strange, f"{strange} folders")


def merged(troubles: Iterable[Trouble]) -> tuple[Trouble, ...]:
    """One trouble per place and code."""
    found: dict[tuple[str, str, str], Trouble] = {}
    for one in sorted(troubles, key=lambda t: (t.source, t.batch_date, t.code)):
        key, other = (one.source, one.batch_date, one.code), found.get((one.source, one.batch_date, one.code))
        if other:
            texts = dict.fromkeys([*other.message.splitlines(), one.message])
            one = Trouble(*key, other.files + one.files, "\n".join(texts), other.seen + one.seen)
        found[key] = one
    return tuple(found.values())


def restore(lake: Lake, dataset: Dataset) -> None:
    """Finish what a killed process began to take out: nothing of it is lost, and nothing stays hidden."""
    for source in dataset.sources:
        for folder in _real_folders(lake.inbox / dataset.id / source.source, 3):
            if folder.name.startswith(_TAKEN):
                shutil.rmtree(folder, ignore_errors=True)
            elif folder.name.startswith(_TAKING):
                _undo(folder)


def _real_folders(path: Path, depth: int) -> Iterator[Path]:
    """The folders below `path`, innermost first; links are not followed."""
    if depth and path.is_dir() and not path.is_symlink():
        with suppress(OSError):
            for inner in sorted(Path(e.path) for e in os.scandir(path) if e.is_dir(follow_symlinks=False)):
                yield from _real_folders(inner, depth - 1)
                yield inner


def empty(*deliveries: Delivery) -> None:
    """Remove the files of deliveries of one folder that landing has, and their marks. What was sent again meanwhile stays.

    Raises:
        NotTaken: the pipeline's account may not remove them; all of them are there.
        OSError: the machine failed; all of them are there.
    """
    word, folder = uuid.uuid4().hex, deliveries[0].folder
    aside = folder / f"{_TAKING}{word}"
    try:
        aside.mkdir(mode=0o700)
        for delivery in deliveries:
            for seen, _ in delivery.files:
                _set_aside(seen, folder, aside)
        for mark in _spent(folder, deliveries):
            _set_aside(mark, folder, aside)
        gone = aside.rename(folder / f"{_TAKEN}{word}")
    except OSError as error:
        _undo(aside)
        if machine.of(error) not in (None, machine.READ_ONLY):      # an inbox that is mounted read-only stays as it is
            raise
        raise NotTaken("unreadable", f"files that were received cannot be removed ({os.strerror(error.errno)})") from None
    shutil.rmtree(gone, ignore_errors=True)
    while folder.name != deliveries[0].source:
        with suppress(OSError):     # it holds something else
            folder.rmdir()
        folder = folder.parent


def _spent(path: Path, deliveries: Sequence[Delivery]) -> list[Seen]:
    """The marks that speak of nothing that is left in the folder."""
    with opened(path) as folder:
        left = {seen.name for seen in folder.files}
        marks = [folder.mark(seen.name, suffix) for one in deliveries for seen, _ in one.files for suffix in (DONE, MANIFEST, CHECKSUM) if seen.name not in left]
        named = frozenset().union(*(one.named for one in deliveries))
        manifest = [] if left & named or not named else [folder.mark(FOLDER)]
        done = [] if left or folder.passing else [folder.mark(DONE)]
        return [mark for mark in (*marks, *manifest, *done) if mark]


def _set_aside(seen: Seen, folder: Path, aside: Path) -> None:
    """Move a file away, if it is still the one that was seen."""
    with suppress(FileNotFoundError):
        moved = aside / seen.name
        os.rename(folder / seen.name, moved)
        if Identity.of(os.lstat(moved)) != seen.identity:
            _put_back(moved, folder)


def _undo(aside: Path) -> None:
    """Put back all that was set aside."""
    with suppress(OSError):
        for file in list(aside.iterdir()):
            _put_back(file, aside.parent)
        aside.rmdir()


def _put_back(file: Path, folder: Path) -> None:
    """Give a file its place again; a later one of its name keeps that name."""
    try:
        os.link(file, folder / file.name, follow_symlinks=False)
        file.unlink()
    except OSError:     # the name is taken, or this file system has no hard links
        os.rename(file, folder / f"again-{uuid.uuid4().hex[:8]}{file.suffix}")
