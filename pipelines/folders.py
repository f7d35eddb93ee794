"""What lies in one folder of the inbox, looked at without following a link and without opening a file of data.

Folders are opened one below the other, so that a folder cannot become a link on the way. Nothing here is changed.
"""
from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from pipelines.copying import Identity, NotTaken
from pipelines.sidecars import CHECKSUM, FOLDER, LARGEST, MANIFEST, BadSidecar

DONE = ".done"
PASSING = (".part", ".tmp", ".temp", ".filepart", ".crdownload", ".partial", ".writing", ".swp")
_LEFT = (".", "~$")
_OF_WINDOWS = ("thumbs.db", "desktop.ini")
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True)
class Seen:
    """A regular file as it lies there. `since`: when its bytes last changed; senders may preset it, to the past only.
    `placed`: when anything of it last changed, by the clock of the machine that keeps it."""

    name: str = field(repr=False)
    identity: Identity
    since: float
    placed: float


@dataclass(frozen=True)
class Folder:
    """One folder: `files` by name, `marks` by lower-case name, sub-folders, what is neither, and how many transfers."""

    handle: int
    files: tuple[Seen, ...]
    marks: dict[str, Seen] = field(repr=False)
    folders: tuple[str, ...] = field(repr=False)
    odd: tuple[str, ...] = field(repr=False)
    passing: int

    def mark(self, *words: str) -> Seen | None:
        """The mark whose name these words make, in whatever case it was written."""
        return self.marks.get("".join(words).lower())

    def read(self, mark: Seen) -> bytes:
        """The bytes of a mark.

        Raises:
            BadSidecar: it cannot be read or is too large.
        """
        try:
            with os.fdopen(os.open(mark.name, _OPEN, dir_fd=self.handle), "rb") as file:
                content = file.read(LARGEST + 1)
        except OSError:
            raise BadSidecar("it cannot be read") from None
        if len(content) > LARGEST:
            raise BadSidecar(f"it is larger than {LARGEST:,} bytes")
        return content


@contextmanager
def opened(name: str | os.PathLike, parent: int | None = None) -> Iterator[Folder | None]:
    """Look into the folder `name` below the open folder `parent`; None when there is none.

    Raises:
        NotTaken: it is a link or no folder (code `link`), or may not be read (`unreadable`).
    """
    try:
        handle = os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        code = "link" if error.errno in (errno.ELOOP, errno.ENOTDIR) else "unreadable"
        raise NotTaken(code, f"a folder cannot be opened ({os.strerror(error.errno)})") from None
    try:
        yield _look(handle)
    finally:
        os.close(handle)


def _look(handle: int) -> Folder:
    files, marks, folders, odd, passing = [], {}, [], [], 0
    for name, found in _entries(handle):
        lower = name.lower()
        seen = Seen(name, Identity.of(found), min(found.st_mtime, found.st_ctime), found.st_ctime)
        if stat.S_ISDIR(found.st_mode):
            folders.append(name)
        elif not stat.S_ISREG(found.st_mode):
            odd.append(name)
        elif lower == FOLDER or lower.endswith((DONE, MANIFEST, CHECKSUM)):
            marks[lower] = seen
        elif lower.endswith(PASSING):
            passing += 1
        else:
            files.append(seen)
    return Folder(handle, tuple(sorted(files, key=lambda s: s.name)), marks, tuple(sorted(folders)), tuple(sorted(odd)), passing)


def _entries(handle: int) -> Iterator[tuple[str, os.stat_result]]:
    """What lies in an open folder, without what is nobody's submission."""
    try:
        with os.scandir(handle) as entries:
            for entry in entries:
                if entry.name.lower() != DONE and (entry.name.startswith(_LEFT) or entry.name.lower() in _OF_WINDOWS):
                    continue
                with suppress(FileNotFoundError):
                    yield entry.name, entry.stat(follow_symlinks=False)
    except OSError as error:
        raise NotTaken("unreadable", f"a folder cannot be read ({os.strerror(error.errno)})") from None
