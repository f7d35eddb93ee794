"""Archives around files: {member name: bytes} → bytes. Times are fixed, so the bytes are the same in every run."""
from __future__ import annotations

import gzip
import io
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable

import py7zr

LONG_AGO = (2020, 1, 1, 0, 0, 0)


def zipped(members: dict[str, bytes], level: int | None = None) -> bytes:
    """A zip archive; a name that ends in '/' is a folder."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), content, zipfile.ZIP_DEFLATED, level)
    return out.getvalue()


def gzipped(members: dict[str, bytes]) -> bytes:
    """One member, compressed by gzip."""
    [content] = members.values()
    return gzip.compress(content, mtime=0)


def tar(members: dict[str, bytes], special: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    """A tar archive; `special` are members without content: links, devices."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in special:
            archive.addfile(info)
    return out.getvalue()


def tar_gz(members: dict[str, bytes]) -> bytes:
    """A tar archive, compressed by gzip."""
    return gzip.compress(tar(members), mtime=0)


def seven(members: dict[str, bytes], password: str | None = None, fast: bool = False) -> bytes:
    """A 7z archive."""
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", password=password, filters=[{"id": py7zr.FILTER_DEFLATE}] if fast else None) as archive:
        for name, content in members.items():
            archive.writestr(content, name)
    return out.getvalue()


BOXES = {"zip": zipped, "gz": gzipped, "tar.gz": tar_gz, "7z": seven}


def zipped_pairs(members: list[tuple[str, bytes]]) -> bytes:
    """A zip archive in which a name may stand twice."""
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore")
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), content)
    return out.getvalue()


def with_symlink(members: dict[str, bytes], name: str, target: str) -> bytes:
    """A zip archive with one more member that is a symbolic link."""
    out = io.BytesIO(zipped(members))
    with zipfile.ZipFile(out, "a") as archive:
        info = zipfile.ZipInfo(name, LONG_AGO)
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, target)
    return out.getvalue()


def encrypted_zip(content: bytes) -> bytes:
    """The archive with every member marked as encrypted (bit 0 of the flags)."""
    return _patched(content, 6, 8, lambda old: bytes([old[0] | 1]) + old[1:], 2)


def with_method(content: bytes, method: int) -> bytes:
    """The archive with every member marked as compressed by this method."""
    return _patched(content, 8, 10, lambda old: struct.pack("<H", method), 2)


def with_size(content: bytes, size: int) -> bytes:
    """The archive with every member said to unpack to `size` bytes."""
    return _patched(content, 22, 24, lambda old: struct.pack("<I", size), 4)


def _patched(content: bytes, local: int, central: int, new: Callable[[bytes], bytes], width: int) -> bytes:
    """The archive with a field of every local and central header replaced."""
    for magic, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        at = content.find(magic)
        while at >= 0:
            place = at + offset
            content = content[:place] + new(content[place:place + width]) + content[place + width:]
            at = content.find(magic, at + 4)
    return content
