"""Text that was once decoded with the wrong codec: recognised and repaired for a whole file, never for a cell.

Two accidents are known (each proves itself by the way back: encode with the wrong codec, decode with the right one):
GB 18030 read as Latin-1 or Windows-1252 (银川市 → Òø´¨ÊÐ), and UTF-8 read as GBK (银川市 → 閾跺窛甯…), which loses the last
byte of every odd run; what was lost becomes DAMAGE, so that its rows go to quarantine.
"""
from __future__ import annotations

import codecs
import re

from pipelines.readers.marks import DAMAGE, FILLER, as_utf8, salvaged

LATIN, GBK = "latin-1", "gbk"
_WINDOWS_1252 = {ord(bytes([b]).decode("cp1252")): b for b in range(0x80, 0xA0) if b not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}
_MARKS = ("\ufffd", DAMAGE, "€")      # what stands for bytes that were lost
_LOST = re.compile(f"([{''.join(_MARKS)}])")
_HAN = re.compile("[\u3400-\u9fff]")
_CUT = 3         # bytes of a character that may be cut off
_SHOWS = 1 << 12      # bytes among which a wide character stands, where there are any
_FIRST = codecs.getincrementaldecoder("gb18030")
_ENOUGH = 6      # Han characters that must come back; fewer prove nothing
_SIX = re.compile(f"(?:[\x00-\x7f]*+[^\x00-\x7f]){{{_ENOUGH}}}")
_NARROW = re.compile(f"[\x00-\xff{''.join(map(chr, _WINDOWS_1252))}{DAMAGE}]*+")      # what the wrong codec can have made


def kind(sample: str) -> str | None:
    """How `sample` was decoded wrongly: LATIN, GBK, or None when it was not."""
    if not _SIX.match(sample):
        return None
    if _NARROW.fullmatch(sample) and _holds(*_valid(repair(sample, LATIN)), 10):
        return LATIN
    return GBK if _holds(*salvaged(_meant(sample)), 1) else None


def unlike(raw: bytes) -> bool:
    """Whether GB 18030 text of these bytes is certainly not GBK, told from their number: what `excluded` needs, and rarely lacks."""
    least, most = as_utf8(raw)
    return most <= max(_ENOUGH - 1, least - _CUT)


def excluded(raw: bytes, text: bytes) -> bool:
    """Whether `kind` certainly finds nothing in the beginning of a text in GB 18030; false where it must be asked.

    Args:
        raw: the beginning, `unlike`, which may end within a character.
        text: the whole in UTF-8: no byte of it was a fault, so that `raw` is what the way back of GBK leads to where no mark stands for lost bytes.
    """
    if any(mark.encode() in text for mark in _MARKS):
        return False
    return not _NARROW.fullmatch(_FIRST(errors="ignore").decode(raw[:_SHOWS]))


def _valid(back: str) -> tuple[str, int]:
    return back, back.count(DAMAGE)


def _holds(back: str, damaged: int, times: int) -> bool:
    """Whether the way back gives Han characters, more than `times` as many as it gives damaged bytes."""
    return len(_HAN.findall(back)) > max(_ENOUGH - 1, times * damaged)


def _meant(text: str) -> bytes:
    """The bytes that were decoded as GBK."""
    if not any(mark in text for mark in _MARKS):
        return text.encode("gb18030")
    return b"".join(b"\x80" if part == "€" else b"\xff" if _LOST.fullmatch(part) else part.encode("gb18030") for part in _LOST.split(text))


def repair(text: str, wrong: str) -> str:
    """`text`, decoded with the codec `wrong`, as it was meant."""
    if wrong == LATIN:
        return text.translate(_WINDOWS_1252).encode("latin-1", "lake.lost").decode("gb18030", "lake.mark")
    return _meant(text).decode("utf-8", "lake.mark")


class _Filled(dict[int, str]):
    """Code point → the character and a FILLER for every further byte of `codec`; DAMAGE stands for one byte."""

    def __init__(self, codec: str) -> None:
        super().__init__({ord(DAMAGE): DAMAGE})
        self._codec = codec

    def __missing__(self, point: int) -> str:
        character = chr(point)
        self[point] = character + FILLER * (len(character.encode(self._codec)) - 1)
        return self[point]


_filled: dict[str, _Filled] = {}


def fill(text: str, codec: str) -> str:
    """`text` with FILLER after every character of several bytes."""
    return text.translate(_filled.setdefault(codec, _Filled(codec)))
