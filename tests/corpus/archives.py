"""Archives: several members, broken, encrypted, nested and hostile ones. Members are numbered, never named."""
from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from hashlib import sha256

from tests.corpus import boxes
from tests.corpus.boxes import BOXES, seven, tar, zipped
from tests.corpus.forms import FORMS, HEADER
from tests.corpus.model import SECRET, Case, loaded, refused, table

ROWS = table()
CSV = FORMS["csv"].write(HEADER, ROWS)
HALVES = {f"{SECRET}1.csv": FORMS["csv"].write(HEADER, ROWS[:3]), f"{SECRET}2.csv": FORMS["csv"].write(HEADER, ROWS[3:])}
MANY = 10_001
BOMB = 70 << 20      # above the 64 MiB from which a ratio counts


def _box(kind: str) -> Callable[[dict[str, bytes]], bytes]:
    return BOXES[kind]


def _good() -> Iterator[Case]:
    for kind in ("zip", "tar.gz", "7z"):
        yield loaded(kind, "two_members", lambda k=kind: {f"a.{k}": _box(k)(HALVES)}, ROWS)
        yield loaded(kind, "folders_and_litter", lambda k=kind: {f"a.{k}": _box(k)({"x/y/a.csv": CSV, "__MACOSX/x/y/._a.csv": b"\0\5\x16\7", "x/.DS_Store": b"\0\0\0\1Bud1"})}, ROWS)
        yield loaded(kind, "member_in_gbk", lambda k=kind: {f"a.{k}": _box(k)({"a.csv": CSV.decode().encode("gbk")})}, ROWS)
        bad = CSV.replace(b",640104,", b",640104,,,", 1)
        yield loaded(kind, "bad_row", lambda k=kind, b=bad: {f"a.{k}": _box(k)({"a.csv": b})}, ROWS[1:], [(1, ("line.width",))])
    yield loaded("tar", "two_members", lambda: {"a.tar": tar(HALVES)}, ROWS)
    yield loaded("zip", "several_forms", lambda: {"a.zip": zipped({"a.csv": HALVES[f"{SECRET}1.csv"], "b.jsonl": FORMS["jsonl"].write(HEADER, ROWS[3:5]), "c.xml": FORMS["xml"].write(HEADER, ROWS[5:])})}, ROWS)
    first, second = HALVES.values()
    order = [*ROWS[:3], *ROWS[3:]] if sha256(first).hexdigest() < sha256(second).hexdigest() else [*ROWS[3:], *ROWS[:3]]
    yield loaded("zip", "same_name_twice", lambda: {"a.zip": boxes.zipped_pairs([("a.csv", first), ("a.csv", second)])}, order)
    yield loaded("csv", "two_files", lambda: {"1.csv": HALVES[f"{SECRET}1.csv"], "2.csv": HALVES[f"{SECRET}2.csv"]}, ROWS)
    yield refused("csv", "one_of_two_files_empty", lambda: {"1.csv": CSV, "2.csv": b""}, "empty")
    yield refused("zip", "empty_member_beside", lambda: {"a.zip": zipped({"a.csv": CSV, "b.csv": b""})}, "empty")


def _broken() -> Iterator[Case]:
    for kind in ("zip", "gz", "tar.gz", "7z"):
        yield refused(kind, "cut", lambda k=kind: {f"a.{k}": (b := _box(k)({"a.csv": CSV}))[:len(b) * 2 // 3]}, "archive")
    yield refused("zip", "wrong_checksum", lambda: {"a.zip": _flip(zipped({"a.csv": CSV}), 60)}, "archive")
    yield refused("gz", "wrong_checksum", lambda: {"a.gz": _flip(boxes.gzipped({"a": CSV}), -6)}, "archive")
    yield refused("7z", "wrong_bytes", lambda: {"a.7z": _flip(seven({"a.csv": CSV}), 60)}, "archive")
    yield refused("zip", "empty", lambda: {"a.zip": zipped({})}, "archive")
    yield refused("zip", "folders_only", lambda: {"a.zip": zipped({"a/": b"", "a/b/": b""})}, "archive")
    yield refused("tar", "empty", lambda: {"a.tar.gz": boxes.tar_gz({})}, "binary")
    yield refused("7z", "empty", lambda: {"a.7z": seven({})}, "archive")
    yield refused("zip", "encrypted", lambda: {"a.zip": boxes.encrypted_zip(zipped({"a.csv": CSV}))}, "archive")
    yield refused("7z", "encrypted", lambda: {"a.7z": seven({"a.csv": CSV}, password="x")}, "archive")
    yield refused("zip", "unknown_compression", lambda: {"a.zip": boxes.with_method(zipped({"a.csv": CSV}), 99)}, "archive")


def _hostile() -> Iterator[Case]:
    """Members that would leave the folder, unpack without end, or point elsewhere."""
    for kind in ("zip", "tar.gz", "7z"):
        yield refused(kind, "nested", lambda k=kind: {f"a.{k}": _box(k)({"b.zip": zipped({"a.csv": CSV})})}, "archive")
    yield refused("gz", "nested", lambda: {"a.gz": boxes.gzipped({"a": zipped({"a.csv": CSV})})}, "archive")
    yield refused("gz", "twice", lambda: {"a.gz": boxes.gzipped({"a": boxes.gzipped({"a": CSV})})}, "archive")
    for kind in ("zip", "tar.gz", "7z"):
        for fault, name in (("traversal", f"../../{SECRET}.csv"), ("absolute", f"/tmp/{SECRET}.csv")):
            if kind != "7z":
                yield refused(kind, fault, lambda k=kind, n=name: {f"a.{k}": _box(k)({n: CSV})}, "archive")
    yield loaded("zip", "hostile_names", lambda: {"a.zip": zipped({"'; DROP TABLE staged; --.csv": HALVES[f"{SECRET}1.csv"], "<script>\n\u202e.csv": HALVES[f"{SECRET}2.csv"]})}, ROWS)
    for fault, kind, target in (("symlink", tarfile.SYMTYPE, "/etc/passwd"), ("hard_link", tarfile.LNKTYPE, "a.csv"), ("device", tarfile.CHRTYPE, ""), ("pipe", tarfile.FIFOTYPE, "")):
        yield refused("tar", fault, lambda k=kind, t=target: {"a.tar": tar({"a.csv": CSV}, (_special(k, t),))}, "archive")
    yield refused("zip", "symlink", lambda: {"a.zip": boxes.with_symlink({"a.csv": CSV}, "b.csv", "/etc/passwd")}, "archive")
    yield refused("zip", "bomb", lambda: {"a.zip": zipped({"a.csv": CSV + bytes(BOMB)})}, "archive")
    yield refused("gz", "bomb", lambda: {"a.gz": boxes.gzipped({"a": CSV + bytes(BOMB)})}, "archive")
    yield refused("7z", "bomb", lambda: {"a.7z": seven({"a.csv": CSV + bytes(BOMB)}, fast=True)}, "archive")
    yield refused("zip", "bomb_that_lies", lambda: {"a.zip": boxes.with_size(zipped({"a.csv": CSV + bytes(BOMB)}), 100)}, "archive")
    yield refused("zip", "huge_by_its_own_word", lambda: {"a.zip": boxes.with_size(zipped({"a.csv": CSV}), 0xFFFFFFFE)}, "archive")
    yield refused("zip", "many_members", lambda: {"a.zip": zipped({f"{n}.csv": b"" for n in range(MANY)})}, "archive")
    yield refused("tar", "many_members", lambda: {"a.tar.gz": boxes.tar_gz({f"{n}.csv": b"" for n in range(MANY)})}, "archive")
    yield refused("xlsx", "bomb", lambda: {"a.xlsx": zipped({"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<x/>", "xl/worksheets/sheet1.xml": bytes(BOMB)})}, "archive")


def _special(kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo("b.csv")
    info.type, info.linkname = kind, target
    return info


def _flip(content: bytes, at: int) -> bytes:
    at %= len(content)
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1:]


def cases() -> Iterator[Case]:
    """All cases of this module."""
    yield from _good()
    yield from _broken()
    yield from _hostile()
