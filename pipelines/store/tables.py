"""How files of base are named in Iceberg tables: by their address in the object store, where there is one, so that other engines open them there."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STORE, HOME = "lake.store", "lake.home"


def kept_in(store: str | None, home: str) -> dict[str, str]:
    """What the Iceberg catalogue of a lake in an object store has to know; nothing for a lake on a disk."""
    return {"py-io-impl": "pipelines.store.reading.Kept", STORE: store, HOME: home} if store else {}


def local(address: str, properties: Mapping[str, Any]) -> str:
    """The path of the file that a table names, in the folder that steps work in.

    Args:
        properties: of the table's catalogue.
    """
    store = properties.get(STORE)
    if store and address.startswith(f"{store}/"):
        return f"{properties[HOME]}{address[len(store):]}"
    return address.removeprefix("file://")
