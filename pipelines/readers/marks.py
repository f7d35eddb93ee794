"""Characters that reading itself uses, codec error handlers that set them, and the private-use table."""
from __future__ import annotations

import codecs
import re

import numpy as np

# Noncharacters: Unicode bars them from interchange, so no submitted text needs them.
DAMAGE = "\U0010ffff"      # stands for bytes that are no character
SEPARATOR = "\U0010fffe"   # a delimiter that no line holds
FILLER = "\U000ffffe"      # follows a character as often as its encoding has further bytes (fixed width)


def _mark(error: UnicodeError) -> tuple[str, int]:
    """One DAMAGE per byte, so that a line end is never swallowed."""
    return DAMAGE, error.start + 1


def salvaged(raw: bytes) -> tuple[str, int]:
    """What is valid in bytes taken for UTF-8, and how many bytes are not: as many as decoding with `lake.mark` gives DAMAGE, in a tenth of the time."""
    text = raw.decode("utf-8", "ignore")
    left = text.replace(DAMAGE, "")
    return left, len(raw) - len(text.encode()) + len(text) - len(left)


def as_utf8(raw: bytes) -> tuple[int, int]:
    """Of bytes taken for UTF-8: the least that `salvaged` can count as damaged, and the most characters of three bytes that can be valid.

    Every byte that continues a character follows a first one, and saves at most that one: what is neither is damaged.
    """
    found = np.frombuffer(raw, np.uint8)
    beyond, continuing = np.count_nonzero(found >= 0x80), np.count_nonzero(found.view(np.int8) < -0x40)      # 80–BF
    return max(0, int(beyond) - 2 * int(continuing)), int(np.count_nonzero((found & 0xF0) == 0xE0))


def _mark16(error: UnicodeError) -> tuple[str, int]:
    """One DAMAGE per code unit of UTF-16."""
    return DAMAGE, error.end


def _lost(error: UnicodeError) -> tuple[bytes, int]:
    """A byte that is no character in any accepted encoding, for a character the wrong codec could not have made."""
    return b"\xff", error.start + 1


codecs.register_error("lake.mark", _mark)
codecs.register_error("lake.lost", _lost)
codecs.register_error("lake.mark16", _mark16)

# GB 18030-2022: two-byte codes that Python's codec (GB 18030-2000) decodes to the private-use character on the left.
# A6D9-A6DF, A6EC-A6ED, A6F3: vertical forms; A8BC: ḿ; FE51…FEA0: Han characters.
GB18030_2022 = {
    0xE78D: 0xFE10, 0xE78E: 0xFE12, 0xE78F: 0xFE11, 0xE790: 0xFE13, 0xE791: 0xFE14, 0xE792: 0xFE15, 0xE793: 0xFE16,
    0xE794: 0xFE17, 0xE795: 0xFE18, 0xE796: 0xFE19, 0xE7C7: 0x1E3F,
    0xE816: 0x20087, 0xE817: 0x20089, 0xE818: 0x200CC, 0xE81E: 0x9FB4, 0xE826: 0x9FB5, 0xE82B: 0x9FB6, 0xE82C: 0x9FB7,
    0xE831: 0x215D7, 0xE832: 0x9FB8, 0xE83B: 0x2298F, 0xE843: 0x9FB9, 0xE854: 0x9FBA, 0xE855: 0x241FE, 0xE864: 0x9FBB,
}
# GBK fonts showed the codes FE50-FEA0 in U+E815-U+E864, in this order; today they are characters of their own.
_GBK_TRAILS = (*range(0x50, 0x7F), *range(0x80, 0xA1))
PRIVATE_USE = {0xE815 + place: ord(bytes((0xFE, trail)).decode("gb18030")) for place, trail in enumerate(_GBK_TRAILS)} | GB18030_2022
_PRIVATE = re.compile("[" + "".join(map(chr, PRIVATE_USE)) + "]")
_OLD = re.compile("[" + "".join(chr(c) for c in PRIVATE_USE if c not in GB18030_2022) + "]")


def private_use(text: str, encoding: str = "utf-8") -> tuple[str, int]:
    """`text` with private-use characters of old systems mapped to today's, and how many repairs that were.

    In GB 18030 the codes of GB18030_2022 are characters in good standing that only the codec does not know: no repairs.
    """
    return text.translate(PRIVATE_USE), len((_OLD if encoding == "gb18030" else _PRIVATE).findall(text))
