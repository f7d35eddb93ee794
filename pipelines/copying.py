"""Copying one submitted file byte for byte: in a stream, hashed and counted, durable before it is named a submission.

The file is hostile: links are not followed, pipes are not waited for, and a file that is not the one found before, or
changes meanwhile, is not taken. Messages name files by number.
"""
from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pipelines import trouble
from pipelines.counts import Counter, Counts
from pipelines.settings import WrongUse

CHUNK = 1 << 20
SYNCED = 64 * CHUNK      # bytes after which the disk is given what there is, so that it works while the rest is read
KEPT_EXTENSIONS = (".csv", ".txt", ".tsv", ".dat", ".prn", ".xlsx", ".xls", ".xlsb", ".ods", ".json", ".jsonl", ".ndjson", ".xml",
                   ".dbf", ".parquet", ".zip", ".gz", ".tgz", ".tar", ".7z")


class NotTaken(WrongUse):
    """A file cannot be taken as it lies there. `code` is one of `deliveries.CODES`."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Identity:
    """What tells a file from another one of its name, and from itself after a change."""

    device: int
    inode: int
    size: int
    changed_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> Identity:
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


@dataclass(frozen=True)
class Stated:
    """What is known of a file before it is copied; None is not known. `kept`: (extension, bytes) to keep beside it."""

    identity: Identity | None = None
    rows: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    kept: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)


def digest(file: Path) -> tuple[str, int]:
    """(SHA-256, bytes) of a file."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), stream.tell()


def copied(path: Path, what: str, target: Path, stated: Stated) -> tuple[Path, str, Counts]:
    """Copy a file beside `target`, under its extension where that is a kept one.

    Args:
        what: how messages call the file.

    Returns:
        (the copy, its SHA-256, its counts).

    Raises:
        NotTaken: it cannot be read, is no regular file, changes, or is not what was stated.
    """
    extension = path.suffix.lower() if path.suffix.lower() in KEPT_EXTENSIONS else ".bin"
    stored, digest, counter = target.with_name(target.name + extension), hashlib.sha256(), Counter()
    with os.fdopen(opened_file(path, what), "rb", buffering=0) as read, open(stored, "xb") as write, ThreadPoolExecutor(1) as disk:
        before = Identity.of(os.fstat(read.fileno()))
        if stated.identity not in (None, before):
            raise NotTaken("unsettled", f"{what} is not the file that was found a moment ago: it is being written or replaced.")
        given, syncing = 0, Future()
        syncing.set_result(None)
        while chunk := _read(read, what):
            digest.update(chunk)
            counter.update(chunk)
            write.write(chunk)
            given += len(chunk)
            if given >= SYNCED and syncing.done():
                syncing.result()
                given, syncing = 0, disk.submit(os.fdatasync, write.fileno())
        syncing.result()
        after = Identity.of(os.fstat(read.fileno()))
        write.flush()
        os.fsync(write.fileno())
    counts = counter.result()
    if before != after or counts.bytes != after.size:
        raise NotTaken("unsettled", f"{what} changed while it was copied. Send it again when it is complete.")
    if stated.bytes not in (None, counts.bytes) or stated.sha256 not in (None, digest.hexdigest()):
        raise NotTaken("sha256", f"{what} is not what was stated beside it: its size or SHA-256 differs.")
    stored.chmod(0o400)
    for suffix, content in stated.kept:
        keep(target.with_name(target.name + suffix), content)
    return stored, digest.hexdigest(), counts


def opened_file(path: Path, what: str) -> int:
    """A descriptor of a regular file; links are not followed and pipes are not waited for.

    Raises:
        NotTaken: there is none, it cannot be opened, or it is something else.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        _let_pass(error)
        code = "link" if error.errno == errno.ELOOP else "unreadable"
        raise NotTaken(code, f"{what} cannot be opened ({os.strerror(error.errno)}); links are not followed.") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise NotTaken("link", f"{what} is not a regular file.")
    return handle


def _read(file: io.FileIO, what: str) -> bytes:
    try:
        return file.read(CHUNK)
    except OSError as error:
        _let_pass(error)
        raise NotTaken("unreadable", f"{what} cannot be read to its end ({os.strerror(error.errno)}).") from None


def _let_pass(error: OSError) -> None:
    """Raise trouble that reading another file would meet too; a file that its own medium does not give stays where it is."""
    if trouble.of(error) not in (None, trouble.BROKEN):
        raise error


def keep(path: Path, content: bytes) -> None:
    """Write a small file durably."""
    with open(path, "xb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    path.chmod(0o400)
