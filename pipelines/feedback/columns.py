"""The columns of a feedback pack: those of the pack itself, and the department's own under their own names."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipelines.readers import heading

TICKET, ACTION, FILE, PLACE, FIELDS, RULES, REMEDY, ORIGINAL = "回执", "处理", "文件", "行/记录号", "字段", "规则", "应更正", "原文"
PACK = (TICKET, ACTION, FILE, PLACE, FIELDS, RULES, REMEDY, ORIGINAL)
DELETE_WORDS = ("删除", "作废", "D", "DELETE")
SPELLED = [[heading.key(word)] for word in PACK]


def shown(header: Sequence[str]) -> list[str]:
    """A name in the pack for every cell of a submitted header: itself, made distinct where it is empty, repeated or a name of the pack's.

    The same header gives the same names, so that a returned column is known again.
    """
    taken, found = {heading.key(word) for word in PACK}, []
    for number, cell in enumerate(header, 1):
        plain = " ".join(cell.split()) or f"列{number}"
        name, place = plain, 2
        while heading.key(name) in taken:
            name, place = f"{plain} ({place})", place + 1
        taken.add(heading.key(name))
        found.append(name)
    return found


def union(headers: Iterable[Sequence[str]]) -> list[str]:
    """The names of several headers, each once, in the order in which they first appear."""
    return list(dict.fromkeys(name for header in headers for name in shown(header)))
