"""Bytes to UTF-8: the one decoder. Already readable UTF-8 is used in place; anything else goes to scratch, in streams.

The encoding is decided per file, never per row: a byte order mark or the NULs of UTF-16, then strict UTF-8, then
GB 18030, with the declared encoding breaking ties (`_decide`); Big5 only when it is declared. Text that was once decoded
with the wrong codec is encoded back and decoded rightly (`mojibake`). Bytes that are no character become DAMAGE, so that
only their lines are lost. Characters that old systems keep in private use are mapped as GB 18030-2022 does, and counted
as repairs. In a copy, mixed line ends become LF, also inside quoted values.
"""
from __future__ import annotations

import codecs
import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path

from pipelines.counts import Counter, Counts
from pipelines.readers import iconv, mojibake
from pipelines.readers.marks import DAMAGE, FILLER, SEPARATOR, as_utf8, private_use, salvaged
from pipelines.readers.model import MAX_LINE, Member, ReadRefused
from pipelines.sql import threads

BLOCK = 1 << 20
HEAD = 1 << 16
TABLE = 1 << 12      # as much of a table's beginning shows that it is nothing else
CODECS = {"gb18030": "gb18030", "big5": "big5hkscs"}
_SAFE = (b" ", b",", b'"', b"/")
_RESERVED = tuple(c.encode() for c in (DAMAGE, SEPARATOR, FILLER))
_PRIVATE = (b"\xee\x9e", b"\xee\x9f", b"\xee\xa0", b"\xee\xa1")     # U+E780..U+E87F in UTF-8


@dataclass(frozen=True)
class Decoded:
    """UTF-8 text on disk and what it took to get there.

    `counts` are of its lines: for UTF-16 those of the copy, because a byte 0x0A is no line end there.
    """

    path: Path
    encoding: str
    counts: Counts
    line_end: str
    repairs: int
    damaged: int
    mojibake: str | None = None


@dataclass(frozen=True)
class _Way:
    """How blocks of a file become UTF-8."""

    encoding: str
    mixed: bool = False
    mojibake: str | None = None
    fill: bool = False


def head(path: Path) -> str:
    """The first characters of a text file, roughly: enough to see whether it is a table, JSON or a marked-up document."""
    with open(path, "rb") as file:
        raw = file.read(HEAD)
    codec = _utf16(raw, "auto") or "gb18030"
    if codec == "gb18030" and (start := _readable(raw[:TABLE], codec)).removeprefix("\ufeff").lstrip()[:1] not in ("", "{", "[", "<"):
        return start      # neither JSON nor a marked-up document: what follows cannot change that
    return _readable(raw, codec)


def _readable(raw: bytes, codec: str) -> str:
    try:
        return codecs.getincrementaldecoder("utf-8" if codec == "gb18030" else codec)().decode(raw).removeprefix("\ufeff")
    except UnicodeDecodeError:
        return raw.decode(codec, "ignore")


def decode(member: Member, declared: str, scratch: Path, fill: bool = False, lined: bool = True) -> Decoded:
    """Give a file as UTF-8 text.

    Args:
        member: the file; its bytes are known to be what was received.
        declared: the contract's encoding: gb18030, utf-8, utf-16, big5 or auto.
        scratch: where a copy may be written.
        fill: follow every character of n > 1 bytes with n - 1 FILLER, so that positions in bytes are positions in
            characters (fixed width).
        lined: whether its lines are records; else they may be of any length and are left as they are.

    Raises:
        ReadRefused: binary, encoding, line_size.
    """
    path, counts, encoding = member.path, member.counts, None
    with open(path, "rb") as file:
        first = file.read(HEAD if counts.bytes > BLOCK else BLOCK)
    wide = _utf16(first[:HEAD], declared)
    if wide:
        if member.counts.bytes % 2:
            raise ReadRefused("encoding", f"{member.name} is UTF-16 of an odd number of bytes: some are lost, and characters below them are not "
                                          "what they were. Ask for it again.")
        path = scratch.with_suffix(".utf16")
        counts = _transcode(member.path, wide, path)
        encoding = wide
    _refuse(member.name, counts, lined)
    small = len(first) == counts.bytes and not wide
    again = partial(_cut, io.BytesIO(first)) if small else partial(blocks, path)      # a small file is read once
    found, damaged, foreign = _decide(again(), "utf-8" if wide else declared)
    way = _Way(found, lined and counts.line_end is None, None, fill)
    if small and found == "gb18030" and (sound := _sound(again, counts.bytes - counts.substitute, way)) is not None:
        scratch.write_bytes(sound)
        return Decoded(scratch, found, counts, "\n" if way.mixed else counts.line_end or "\n", 0, 0)
    way = replace(way, mojibake=mojibake.kind(_sample(again(), found)))
    if found == "utf-8" and not (damaged or foreign or way.mixed or way.mojibake or fill or counts.substitute):
        return Decoded(path, encoding or "utf-8", counts, counts.line_end or "\n", 0, 0)
    repairs, damaged = _copy(path, way, counts.substitute, scratch)
    return Decoded(scratch, encoding or found, counts, "\n" if way.mixed else counts.line_end or "\n", repairs, damaged, way.mojibake)


def blocks(path: Path, end: int | None = None) -> Iterator[bytes]:
    """The bytes of a file up to `end` in blocks of whole lines; no character and no CRLF is cut.

    Lines longer than records may be are cut where no character can be: behind a byte below 0x30.
    """
    with open(path, "rb", buffering=0) as file:
        yield from _cut(file, path.stat().st_size if end is None else end)


def _cut(file: io.FileIO | io.BytesIO, end: int | None = None) -> Iterator[bytes]:
    """`blocks` of an open file, from its beginning."""
    rest, left = b"", file.seek(0, os.SEEK_END) if end is None else end
    file.seek(0)
    while chunk := file.read(min(BLOCK, left)):
        left -= len(chunk)
        chunk = rest + chunk
        cut = chunk.rfind(b"\n") + 1 or chunk.rfind(b"\r", 0, len(chunk) - 1) + 1
        if not cut and len(chunk) > 2 * MAX_LINE:
            cut = max(map(chunk.rfind, _SAFE)) + 1 or len(chunk)
        rest = chunk[cut:]
        if cut:
            yield chunk[:cut]
    if rest:
        yield rest


def _refuse(what: str, counts: Counts, lined: bool) -> None:
    if lined and counts.longest > MAX_LINE:
        raise ReadRefused("line_size", f"{what} has a line of about {counts.longest:,} bytes; the limit is {MAX_LINE:,}. "
                                       "The file has no line ends, or it is not text.")
    if counts.nuls > 100 and counts.nuls * 20 > counts.bytes:
        raise ReadRefused("binary", f"{what} holds {counts.nuls:,} NUL bytes among {counts.bytes:,}: it is not text.")


def _utf16(raw: bytes, declared: str) -> str | None:
    """The UTF-16 codec of a file that begins so: by its mark, by the contract, or because every second byte is often NUL."""
    for mark, codec in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if raw.startswith(mark):
            return codec
    even, odd = raw[::2].count(0), raw[1::2].count(0)
    enough = len(raw) // (100 if declared == "utf-16" else 8)
    if odd > enough and even * 20 < odd:
        return "utf-16-le"
    if even > enough and odd * 20 < even:
        return "utf-16-be"
    return "utf-16-le" if declared == "utf-16" and not _is_utf8(raw) else None


def _is_utf8(head: bytes) -> bool:
    """Whether a file's beginning, which may end inside a character, is UTF-8."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _transcode(path: Path, codec: str, out: Path) -> Counts:
    """Write UTF-16 as UTF-8 without its mark; returns the counts of what was written."""
    decoder, counter = codecs.getincrementaldecoder(codec)("lake.mark16"), Counter()
    with open(path, "rb") as read, open(out, "wb") as write:
        first, last = True, False
        while not last:
            chunk = read.read(BLOCK)
            last = not chunk
            text = decoder.decode(chunk, last)
            if first and text:
                text, first = text.removeprefix("\ufeff"), False
            written = text.encode("utf-8")
            counter.update(written)
            write.write(written)
    return counter.result()


def _decide(found: Iterable[bytes], declared: str) -> tuple[str, int, bool]:
    """(encoding, bytes that are no UTF-8, holds reserved or private-use characters).

    GB 18030 text read as UTF-8 has about 170 faults and 1 valid three-byte character per 100 Han characters, damaged
    UTF-8 the opposite, so what prevails tells them apart. A declared gb18030 gives way only to three such characters and
    ten per fault, a declared utf-8 only when faults prevail.
    """
    faults = wide = 0
    plain, foreign = True, False
    for number, block in enumerate(found):
        if not number and block.startswith(codecs.BOM_UTF8):
            declared = "utf-8"
        if declared == "big5":
            return "big5", 0, False
        if block.isascii():
            continue
        plain = False
        try:
            block.decode("utf-8")
            wide += 0 if wide > 100 else _wide(block)
        except UnicodeDecodeError:
            for at in range(0, len(block), HEAD):      # text of another encoding shows itself at once
                piece = block[at:at + HEAD + 3]
                least, most = as_utf8(piece)
                if faults + least > 10 + wide + most:
                    return "gb18030", 0, False      # as looking at what is valid would say
                valid, damaged = salvaged(piece)
                faults += damaged
                wide += _wide(valid.encode())
                if faults > 10 + wide:
                    return "gb18030", 0, False
        foreign = foreign or _foreign(block)
    enough = {"utf-8": wide >= faults, "auto": wide > faults or not faults, "gb18030": wide >= 10 * faults and wide > 2}
    return ("utf-8", faults, foreign) if plain or enough.get(declared, enough["auto"]) else ("gb18030", 0, False)


def _foreign(block: bytes) -> bool:
    """Whether UTF-8 text holds characters that reading uses itself, or private-use ones that are mapped."""
    # One byte is looked for in a tenth of the time that several take; leading bytes are no part of other characters.
    return any(r[:1] in block and r in block for r in _RESERVED) or (b"\xee" in block and any(p in block for p in _PRIVATE))


def _wide(block: bytes) -> int:
    """Characters of three UTF-8 bytes in valid UTF-8."""
    return sum(map(block.count, _LEADS))


_LEADS = tuple(bytes([b]) for b in range(0xE0, 0xF0))


def _sample(found: Iterable[bytes], encoding: str) -> str:
    """The beginning of the first lines that are not plain ASCII, decoded."""
    return _beginning(found).decode(CODECS.get(encoding, encoding), "ignore")


def _beginning(found: Iterable[bytes]) -> bytes:
    return next((block[:HEAD] for block in found if not block.isascii()), b"")


def _sound(again: Callable[..., Iterable[bytes]], end: int, way: _Way) -> bytes | None:
    """A small file of GB 18030 as UTF-8 where it has no fault, nothing to be mapped, and was certainly never decoded with a wrong codec; None where that
    takes a closer look."""
    sample = _beginning(again())
    if way.fill or not mojibake.unlike(sample):
        return None
    done = [_fast(_with_ends(block, way), way) for block in again(end)]
    if None in done or not mojibake.excluded(sample, text := b"".join(done)):
        return None
    return text


def _copy(path: Path, way: _Way, substitute: bool, scratch: Path) -> tuple[int, int]:
    """Write the UTF-8 copy; returns (repairs, damaged bytes)."""
    repairs = damaged = 0
    with open(scratch, "wb") as out:
        for done, repaired, lost in _converted(path, path.stat().st_size - substitute, way):
            repairs += repaired
            damaged += lost
            out.write(done)
    return repairs, damaged


def _converted(path: Path, end: int, way: _Way) -> Iterator[tuple[bytes, int, int]]:
    """`_convert` of all blocks in their order, by as many threads as there are cores; one block alone is not worth a thread."""
    if end <= BLOCK:
        yield from (_convert(block, way) for block in blocks(path, end))
        return
    with ThreadPoolExecutor(threads()) as pool:
        waiting: deque[Future[tuple[bytes, int, int]]] = deque()
        for block in chain(blocks(path, end), repeat(None, 2 * threads())):
            if block is not None:
                waiting.append(pool.submit(_convert, block, way))
            if waiting and (block is None or len(waiting) == 2 * threads()):
                yield waiting.popleft().result()


def _convert(block: bytes, way: _Way) -> tuple[bytes, int, int]:
    """(UTF-8, repairs, damaged bytes) of a block of whole lines."""
    block = _with_ends(block, way)
    if (fast := _fast(block, way)) is not None:
        return fast, 0, 0
    codec = CODECS.get(way.encoding, way.encoding)
    text = block.decode(codec, "lake.mark").replace(SEPARATOR, DAMAGE).replace(FILLER, DAMAGE)
    if way.mojibake:
        text = mojibake.repair(text, way.mojibake)
    text, repairs = private_use(text, way.encoding)
    return (mojibake.fill(text, codec) if way.fill else text).encode("utf-8", "lake.mark"), repairs, text.count(DAMAGE)


def _with_ends(block: bytes, way: _Way) -> bytes:
    return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if way.mixed else block


def _fast(block: bytes, way: _Way) -> bytes | None:
    """A block of GB 18030 without a fault, in which nothing is to be mapped, as UTF-8."""
    if way.encoding != "gb18030" or way.mojibake or way.fill:
        return None
    done = iconv.utf8(block)
    return None if done is None or _foreign(done) else done


def without_last_line(decoded: Decoded, at: int, scratch: Path) -> Decoded:
    """The text cut at byte `at`; the landing file itself is never touched."""
    path = decoded.path
    if path != scratch:
        with open(path, "rb") as read, open(scratch, "wb") as write:
            left = at
            while left and (chunk := read.read(min(BLOCK, left))):
                write.write(chunk)
                left -= len(chunk)
    else:
        with open(path, "r+b") as file:
            file.truncate(at)
    return replace(decoded, path=scratch)
