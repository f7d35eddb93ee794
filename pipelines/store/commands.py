"""The command that looks after an object store: `python -m pipelines store`."""
from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from pipelines import store

DONE, HELD = 0, 1


def register(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    stored = command("store", _store, "the object store that keeps the lake: what is there, who writes, and how to mend it")
    stored.add_argument("--take-over", action="store_true", help="write from this machine although another one, which is gone, has not finished")
    stored.add_argument("--mend", action="store_true", help="read every object, and put again from here what is missing or damaged there")


def _store(options: argparse.Namespace) -> int:
    from pipelines.store import care

    if options.take_over:
        return _print(options, care.take_over(), lambda r: f"This machine writes now; before: {r['taken_from'] or 'nobody'}.")
    if options.mend:
        with store.session():
            found = care.mend()
        _print(options, found, _mended)
        return HELD if found["lost"] else DONE
    return _print(options, care.described(), _described)


def _mended(found: dict[str, Any]) -> str:
    return "\n".join([f"{found['objects']:,} objects read, {len(found['mended'])} put again, {len(found['lost'])} are not here either.", *found["lost"]])


def _described(found: dict[str, Any]) -> str:
    return (f"{found['store']}: state {found['generation']}, {found['files']:,} files, {found['bytes']:,} bytes. Writes: {found['writer'] or 'nobody'}. "
            f"Steps work in {found['folder']}.")


def _print(options: argparse.Namespace, found: dict[str, Any], as_text: Callable[[dict[str, Any]], str]) -> int:
    print(json.dumps(found, ensure_ascii=False) if options.json else as_text(found))
    return DONE
