"""plan.json of staged batches: of many that were staged by the same rules, these are read once."""
from __future__ import annotations

import json
from contextlib import suppress
from functools import lru_cache
from typing import Any


class Rules(list):
    """A list of rules, and the JSON text that it was read from."""

    told = ""


def read(text: str) -> Any:
    """What plan.json says. Of many batches alike only what stands before the rules differs: the same text of rules is read once.

    Raises:
        ValueError: it is no JSON.
    """
    before, first, after = text.partition('"rules": ')
    told, second, behind = after.rpartition(', "waivers": ')
    with suppress(ValueError):      # something else stands there
        found = json.loads(f"{before}{first}null{second}{behind}")
        if first and second and isinstance(found, dict) and found.get("rules", told) is None:
            return found | {"rules": rules(told)}
    found = json.loads(text)
    return found | {"rules": rules(json.dumps(found.get("rules")))} if isinstance(found, dict) else found


@lru_cache(maxsize=8)
def rules(told: str) -> Any:
    """The rules of a text, or whatever else it holds; it is never changed."""
    found = json.loads(told)
    if isinstance(found, list):
        found = Rules(found)
        found.told = told
    return found
