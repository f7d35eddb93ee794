"""The torture corpus: files as departments send them and worse, each with what must come of it.

A case is a batch of one or more files in one *form* (`forms`) with one *fault* or trait. The faults that any form can
have stand in `traits`; those of one form beside it. Every file is built in code when it is asked for.
"""
from __future__ import annotations

from tests.corpus import archives, damage, encodings, hostile, layout, records, sheets, traits
from tests.corpus.model import Case

_SOURCES = (traits, encodings, damage, layout, sheets, records, archives, hostile)


def cases() -> list[Case]:
    """All cases, with ids that are unique."""
    found = [case for module in _SOURCES for case in module.cases()]
    assert len({c.id for c in found}) == len(found), sorted(c.id for c in found)
    return found
