"""The registry of semantic types: what `semanticType` of a contract may say.

A type is defined once here and in `warehouse/macros/*.sql`; staging, the gate's rules and the analysts' macros
all come from that one definition.
"""
from __future__ import annotations

import difflib
import re
from functools import cache

from pipelines.semantics import amounts, codes, contacts, dates, identifiers, names
from pipelines.semantics.model import Check, SemanticType

__all__ = ["Check", "SemanticType", "all_types", "semantic_type"]

_FIXED = {t.name if t.parameter is None else f"{t.name}({t.parameter})": t
          for family in (identifiers, codes, names, contacts, dates, amounts) for t in family.TYPES}
_PARAMETERISED = {"code": codes.code, "decimal": amounts.decimal}


def all_types() -> tuple[SemanticType, ...]:
    """Every type without a free parameter, in the order of the families."""
    return tuple(_FIXED.values())


@cache
def semantic_type(text: str) -> SemanticType:
    """The type that `text` names: `uscc`, `uscc(lenient)`, `code(sex)`, `decimal(7,4)` …

    Raises:
        ValueError: there is no such type; the message names the nearest ones.
    """
    found = re.fullmatch(r"([a-z_]+)\(([a-z_0-9, ]+)\)", text)
    if text in _FIXED:
        return _FIXED[text]
    if found and found[1] in _PARAMETERISED:
        return _PARAMETERISED[found[1]](found[2].replace(" ", ""))
    known = [*_FIXED, *(f"{n}(…)" for n in _PARAMETERISED)]
    near = difflib.get_close_matches(text, known, n=3, cutoff=0.5) or known
    raise ValueError(f"unknown semantic type {text!r}; nearest: {', '.join(near)}")
