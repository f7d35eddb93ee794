"""Words of contracts and macros stand in Chinese and English, one behind the other; pages and views show them apart."""
from __future__ import annotations

import re

_SENTENCES = re.compile(r"(.*?[。；）])\s*([A-Z][a-z]*\b.*)", re.DOTALL)
_TURNED = re.compile(r"([^\u4e00-\u9fff]*?[^。]*?\.)\s+([\u4e00-\u9fff].*)", re.DOTALL)


def two_languages(words: str) -> tuple[str, str]:
    """中文。English. → (中文。, English.), whichever comes first; what stands in one language stands for both."""
    if found := _SENTENCES.fullmatch(words.strip()):
        return found[1], found[2]
    found = _TURNED.fullmatch(words.strip())
    return (found[2], found[1]) if found else (words, words)
