"""Archives: zip, gz, tar, tar.gz and 7z, known by content, become numbered members in scratch.

Members are streamed, counted and hashed on the way, and never written under their own names. Headers lie, so sizes are
bounded while bytes flow. An archive that is broken, encrypted, nested, endless or hostile is refused as a whole
(`archive`): a part of a delivery is not taken for the delivery.
"""
from __future__ import annotations

import gzip
import hashlib
import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from pipelines.counts import Counter, Counts
from pipelines.readers import forms
from pipelines.readers.model import Member, ReadRefused
from pipelines.trouble import let_pass

MAX_UNPACKED = 4 << 30      # bytes of all members of one archive
MAX_RATIO = 200             # unpacked to packed bytes; text packs 5 to 40 times, a bomb 1,000 times
FREE_RATIO = 64 << 20       # bytes that may unpack at any ratio
MAX_MEMBERS = 10_000
_BLOCK = 1 << 20
_UNIX = 3                   # the system whose file modes a zip archive holds
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}
_MEMOS = {".fpt", ".dbt"}   # dBASE keeps long texts in a file of its own beside the table


def members(file_number: int, path: Path, sha256: str, counts: Counts, scratch: Path) -> list[Member]:
    """The files to read in a landing file: itself, or the members of the archive it is, in the order of their names.

    Args:
        file_number: its number in the manifest.
        path: where it lies.
        sha256: its hash in the manifest.
        counts: its counts in the manifest.
        scratch: folder for unpacked members.

    Raises:
        ReadRefused: empty, changed, archive.
    """
    what = f"File {file_number}"
    if not counts.bytes:
        raise ReadRefused("empty", f"{what} is empty (0 bytes). Ask the department to send it again.")
    with open(path, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ReadRefused("changed", f"{what} in landing is not the file that was received: its hash differs.")
        file.seek(0)
        form = _form(path, file.read(tarfile.BLOCKSIZE))
    if form is None:
        return [Member(file_number, 0, path, sha256, counts)]
    box = _Box(what, path.stat().st_size, scratch / f"{file_number:04d}")
    with _opened(what):
        _READERS[form](path, box)
        if form == "gz" and box.held and _form_of(box.held[0][1]) == "tar":
            inner = box.held.pop()[1]
            box = _Box(what, inner.stat().st_size, scratch / f"{file_number:04d}-tar")
            _read_tar(inner, box)
            inner.unlink()
    return _numbered(file_number, what, box)


def _numbered(file_number: int, what: str, box: _Box) -> list[Member]:
    """Members in the order of their names; a memo file goes beside the table it belongs to."""
    if not box.held:
        raise ReadRefused("archive", f"{what} is an archive without a file in it.")
    held = sorted(box.held, key=lambda m: (m[0], m[2]))
    tables = {m[0][:-4].lower(): m[1] for m in held if m[0].lower().endswith(".dbf")}
    memos = [m for m in held if m[0][-4:].lower() in _MEMOS and m[0][:-4].lower() in tables]
    found = [Member(file_number, number, *m[1:]) for number, m in enumerate((m for m in held if m not in memos), 1)]
    for member in found:
        if not member.counts.bytes:
            raise ReadRefused("empty", f"{member.name} is empty (0 bytes). Ask the department to send it again.")
        if _form_of(member.path):
            raise ReadRefused("archive", f"{member.name} is an archive inside an archive. Ask for one that holds the files themselves.")
    for name, path, *_ in memos:
        os.replace(path, tables[name[:-4].lower()].with_suffix(name[-4:].lower()))
    return found


class _Box:
    """What is unpacked of one archive: (name, path, hash, counts) per member, and the bounds."""

    def __init__(self, what: str, packed: int, stem: Path) -> None:
        self.what, self.packed, self.stem = what, packed, stem
        self.unpacked = self.entries = 0
        self.held: list[tuple[str, Path, str, Counts]] = []

    def admits(self, name: str, kind: int = 0) -> bool:
        """Whether a member is a file to read, not a folder or what a desktop leaves behind.

        Args:
            name: as the archive says it.
            kind: its file type, as in the mode of a file; 0: unknown.

        Raises:
            ReadRefused: too many members, a link or device, a name that leads out of the archive.
        """
        self.entries += 1
        if self.entries > MAX_MEMBERS:
            raise ReadRefused("archive", f"{self.what} has more than {MAX_MEMBERS:,} members.")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ReadRefused("archive", f"{self.what} holds a link or a device (member {self.entries}). Ask for plain files.")
        slashed = name.replace("\\", "/")
        parts = PurePosixPath(slashed).parts
        if re.match(r"/|[A-Za-z]:", slashed) or ".." in parts:
            raise ReadRefused("archive", f"{self.what} holds a name that leads out of the archive (member {self.entries}).")
        return not (kind == stat.S_IFDIR or slashed.endswith("/") or "__MACOSX" in parts
                    or parts and (parts[-1] in _LITTER or parts[-1].startswith("._")))

    def take(self, name: str, content: BinaryIO) -> int:
        """Copy one member; returns its size."""
        with _Copy(self, name) as copy:
            while block := content.read(_BLOCK):
                copy.write(block)
        return copy.size

    def grow(self, size: int) -> None:
        """Count unpacked bytes before they are written."""
        self.unpacked += size
        if self.unpacked > MAX_UNPACKED:
            raise ReadRefused("archive", f"{self.what} unpacks to more than {MAX_UNPACKED:,} bytes.")
        if self.unpacked > max(FREE_RATIO, MAX_RATIO * self.packed):
            raise ReadRefused("archive", f"{self.what} unpacks to more than {MAX_RATIO} times its {self.packed:,} bytes.")


class _Copy:
    """One member on its way to scratch."""

    def __init__(self, box: _Box, name: str) -> None:
        self.box, self.name, self.size = box, name, 0
        self.path = box.stem.with_name(f"{box.stem.name}-{len(box.held) + 1:05d}")
        self.digest, self.counter, self.out = hashlib.sha256(), Counter(), open(self.path, "wb")

    def write(self, block: bytes) -> int:
        self.box.grow(len(block))
        self.digest.update(block)
        self.counter.update(block)
        self.size += len(block)
        return self.out.write(block)

    def close(self) -> None:
        self.out.close()
        self.box.held.append((self.name, self.path, self.digest.hexdigest(), self.counter.result()))

    def __enter__(self) -> _Copy:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.out.close() if kind else self.close()


@contextmanager
def _opened(what: str) -> Iterator[None]:
    """Whatever a parser raises on hostile bytes means a broken archive; a full disk does not."""
    try:
        yield
    except (ReadRefused, MemoryError):
        raise
    except Exception as error:
        let_pass(error)
        raise ReadRefused("archive", f"{what} is an archive that is broken, cut, encrypted or packed by an unknown method. "
                                     "Ask for it again, without a password.") from None


def _form_of(path: Path) -> str | None:
    with open(path, "rb") as file:
        return _form(path, file.read(tarfile.BLOCKSIZE))


def _form(path: Path, head: bytes) -> str | None:
    """zip, gz, 7z or tar by content, of which `head` is the beginning; None for anything else, office packages included."""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        return None if forms.package(path) else "zip"
    if head.startswith(b"7z\xbc\xaf\x27\x1c"):
        return "7z"
    if head.startswith(b"\x1f\x8b\x08"):
        return "gz"
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")      # its checksum must fit
    except tarfile.HeaderError:
        return None
    return "tar"


def _read_zip(path: Path, box: _Box) -> None:
    with forms.wary(path) as file, zipfile.ZipFile(file) as archive:
        wanted = [m for m in archive.infolist()
                  if box.admits(m.filename, stat.S_IFMT(m.external_attr >> 16) if m.create_system == _UNIX else 0)]
        for member in wanted:
            with archive.open(member) as content:
                if box.take(member.filename, content) != member.file_size:
                    raise zipfile.BadZipFile("size")


def _read_gz(path: Path, box: _Box) -> None:
    with gzip.open(path, "rb") as content:
        box.take("", content)


def _read_tar(path: Path, box: _Box) -> None:
    """tarfile ends without a word at a header it cannot read, so what follows its end must be the end mark."""
    with forms.wary(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            kind = stat.S_IFREG if member.isreg() else stat.S_IFDIR if member.isdir() else stat.S_IFLNK
            if box.admits(member.name, kind):
                box.take(member.name, archive.extractfile(member))
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("no end mark")


def _read_7z(path: Path, box: _Box) -> None:
    import py7zr  # half a second, and few files need it

    with forms.wary(path) as file, py7zr.SevenZipFile(file) as archive:      # an open file is unpacked in one thread
        if archive.needs_password():
            raise py7zr.exceptions.PasswordRequired
        wanted = [m.filename for m in archive.files if box.admits(m.filename, _kind_7z(m))]
        if wanted:
            archive.extract(targets=wanted, factory=_writers(box))
        if len(box.held) != len(wanted):
            raise py7zr.exceptions.Bad7zFile


def _kind_7z(member: Any) -> int:
    if member.is_directory:
        return stat.S_IFDIR
    return stat.S_IFLNK if member.is_symlink or member.is_junction else member.st_fmt or 0


def _writers(box: _Box) -> Any:
    """What py7zr writes members to, one after the other."""
    from py7zr.io import Py7zIO, WriterFactory

    class Writer(Py7zIO):
        def __init__(self, name: str) -> None:
            self.copy = _Copy(box, name)

        def write(self, s: bytes | bytearray) -> int:
            return sum(self.copy.write(bytes(s[at:at + _BLOCK])) for at in range(0, len(s), _BLOCK))

        def read(self, size: int | None = None) -> bytes:
            return b""

        def seek(self, offset: int, whence: int = 0) -> int:
            return 0

        def flush(self) -> None:
            self.copy.out.flush()

        def size(self) -> int:
            return self.copy.size

        def close(self) -> None:
            self.copy.close()

    class Factory(WriterFactory):
        def create(self, filename: str) -> Py7zIO:
            return Writer(filename)

    return Factory()


_READERS = {"zip": _read_zip, "gz": _read_gz, "tar": _read_tar, "7z": _read_7z}
