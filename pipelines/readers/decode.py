"""Bytes to UTF-8: the one decoder. Already readable UTF-8 is used in place; anything else goes to scratch, in streams.

The encoding is decided per file, never per row: a BOM, then strict UTF-8, then GB 18030, with the declared encoding
breaking ties (`_decide`). Bytes that are no character become DAMAGE, so that only their lines are lost. Two-byte codes
which Python's codec maps to private use are mapped as GB 18030-2022 does, and counted as repairs. In a copy, mixed line
ends become LF, also inside quoted values.
"""
from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.counts import Counts
from pipelines.readers.model import MAX_LINE, ReadRefused

DAMAGE = "\U0010ffff"      # noncharacters: Unicode bars them from interchange, so no submitted text needs them
SEPARATOR = "\U0010fffe"   # a delimiter that no line holds
BLOCK = 1 << 20
_RESERVED = (DAMAGE.encode(), SEPARATOR.encode())
_PRIVATE = b"\xee"         # first byte of U+E000..U+EFFF in UTF-8

# GB 18030-2022: 25 two-byte codes that Python's codec (GB 18030-2000) decodes to the private-use character on the left.
# A6D9-A6DF, A6EC-A6ED, A6F3: vertical forms; A8BC: ḿ; FE51…FEA0: Han characters.
GB18030_2022 = {
    0xE78D: 0xFE10, 0xE78E: 0xFE12, 0xE78F: 0xFE11, 0xE790: 0xFE13, 0xE791: 0xFE14, 0xE792: 0xFE15, 0xE793: 0xFE16,
    0xE794: 0xFE17, 0xE795: 0xFE18, 0xE796: 0xFE19, 0xE7C7: 0x1E3F,
    0xE816: 0x20087, 0xE817: 0x20089, 0xE818: 0x200CC, 0xE81E: 0x9FB4, 0xE826: 0x9FB5, 0xE82B: 0x9FB6, 0xE82C: 0x9FB7,
    0xE831: 0x215D7, 0xE832: 0x9FB8, 0xE83B: 0x2298F, 0xE843: 0x9FB9, 0xE854: 0x9FBA, 0xE855: 0x241FE, 0xE864: 0x9FBB,
}


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Codec error handler: one DAMAGE per byte, so that a line end is never swallowed."""
    return DAMAGE, error.start + 1


codecs.register_error("lake.mark", _mark)


@dataclass(frozen=True)
class Decoded:
    """UTF-8 text on disk and what it took to get there."""

    path: Path
    encoding: str
    line_end: str
    repairs: int
    damaged: int


def decode(path: Path, sha256: str, counts: Counts, declared: str, scratch: Path, what: str) -> Decoded:
    """Give a landing file as UTF-8 text.

    Args:
        path: the landing file.
        sha256: its hash in the manifest.
        counts: its counts in the manifest.
        declared: the contract's encoding: gb18030, utf-8 or auto.
        scratch: where a copy may be written.
        what: how messages call the file.

    Raises:
        ReadRefused: changed, empty, encoding (UTF-16), binary, line_size.
    """
    _refuse(path, sha256, counts, what)
    encoding, damaged, reserved = _decide(path, declared)
    mixed = counts.line_end is None
    if encoding == "utf-8" and not (damaged or mixed or counts.substitute or reserved):
        return Decoded(path, "utf-8", counts.line_end or "\n", 0, 0)
    repairs, damaged = _copy(path, encoding, mixed, counts.substitute, scratch)
    return Decoded(scratch, encoding, "\n" if mixed else counts.line_end or "\n", repairs, damaged)


def blocks(path: Path) -> Iterator[bytes]:
    """The file in blocks of whole lines; no character and no CRLF is cut."""
    rest = b""
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(BLOCK):
            chunk = rest + chunk
            cut = chunk.rfind(b"\n") + 1 or chunk.rfind(b"\r", 0, len(chunk) - 1) + 1
            rest = chunk[cut:]
            if cut:
                yield chunk[:cut]
    if rest:
        yield rest


def _refuse(path: Path, sha256: str, counts: Counts, what: str) -> None:
    if not counts.bytes:
        raise ReadRefused("empty", f"{what} is empty (0 bytes). Ask the department to send it again.")
    if counts.longest > MAX_LINE:
        raise ReadRefused("line_size", f"{what} has a line of about {counts.longest:,} bytes; the limit is {MAX_LINE:,}. "
                                       "The file has no line ends, or it is not text.")
    with open(path, "rb") as file:
        head = file.read(4)
        file.seek(0)
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ReadRefused("changed", f"{what} in landing is not the file that was received: its hash differs.")
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise ReadRefused("encoding", f"{what} is UTF-16. Save it as UTF-8 or GB18030 text.")
    if head in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise ReadRefused("binary", f"{what} is a spreadsheet or an archive, not text. Declare format: xlsx, or ask for text.")
    if counts.nuls > 100 and counts.nuls * 20 > counts.bytes:
        raise ReadRefused("binary", f"{what} holds {counts.nuls:,} NUL bytes among {counts.bytes:,}: it is not text.")


def _decide(path: Path, declared: str) -> tuple[str, int, bool]:
    """(encoding, bytes that are no UTF-8, holds reserved characters).

    GB 18030 text read as UTF-8 has about 170 faults and 1 valid three-byte character per 100 Han characters, damaged
    UTF-8 the opposite; so 10 valid characters per fault tell them apart, and nothing between occurs. A declared
    gb18030 gives way only to three such characters, a declared utf-8 only when faults prevail.
    """
    faults = wide = 0
    plain, reserved = True, False
    for number, block in enumerate(blocks(path)):
        if not number and block.startswith(codecs.BOM_UTF8):
            declared = "utf-8"
        if block.isascii():
            continue
        plain = False
        reserved = reserved or any(r in block for r in _RESERVED)
        try:
            block.decode("utf-8")
            wide += 0 if wide > 100 else _wide(block)
        except UnicodeDecodeError:
            known = block.decode("utf-8", "lake.mark").replace(DAMAGE, "").encode()
            faults += len(block) - len(known)
            wide += _wide(known)
        if faults > 10 + wide:
            return "gb18030", 0, False
    enough = {"utf-8": wide >= faults, "auto": wide >= 10 * faults, "gb18030": wide >= 10 * faults and wide > 2}
    return ("utf-8", faults, reserved) if plain or enough[declared] else ("gb18030", 0, False)


def _wide(block: bytes) -> int:
    """Characters of three UTF-8 bytes in valid UTF-8."""
    return sum(map(block.count, _LEADS))


_LEADS = tuple(bytes([b]) for b in range(0xE0, 0xF0))


def _copy(path: Path, encoding: str, mixed: bool, substitute: bool, scratch: Path) -> tuple[int, int]:
    """Write the UTF-8 copy; returns (repairs, damaged bytes)."""
    repairs = damaged = 0
    with open(scratch, "wb") as out:
        held = b""
        for block in blocks(path):
            out.write(held)
            if mixed:
                block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            text = block.decode(encoding, "lake.mark").replace(SEPARATOR, DAMAGE)
            held = text.encode("utf-8", "lake.mark")
            if encoding == "gb18030" and _PRIVATE in held:
                repairs += sum(text.count(chr(private)) for private in GB18030_2022)
                held = text.translate(GB18030_2022).encode("utf-8", "lake.mark")
            damaged += held.count(_RESERVED[0])
        out.write(held[:-1] if substitute else held)
    return repairs, damaged
