"""What a sender states about its files in files beside them: manifests (JSON) and checksums (sha256sum).

`<file>.manifest.json` or `manifest.json` in the folder, and `<file>.sha256`. A manifest is read strictly: a key that
nothing enforces, or a value of another kind, refuses it whole. Reasons name keys of ours and positions, never what
was sent.
"""
from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from pipelines.batch import WORD, batch_date
from pipelines.settings import WrongUse

LARGEST = 1 << 20
FOLDER, MANIFEST, CHECKSUM = "manifest.json", ".manifest.json", ".sha256"
OPEN_LEVELS = ("公开", "内部", "无", "非密", "public", "internal")
_LEVELS = ("密级", "secrecy")
_CHECKSUM = re.compile(r"\\?([0-9a-fA-F]{64})(?:[ \t].*)?")


class BadSidecar(Exception):
    """A manifest or a checksum file cannot be used; the message says why and quotes nothing of it."""


@dataclass(frozen=True)
class Statement:
    """What is stated about one file; None is not stated. `secret`: its 密级 is above what the lake may hold."""

    rows: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    batch_date: str | None = None
    part: str | None = None
    correct: bool | None = None
    secret: bool | None = None

    def and_also(self, other: Statement) -> Statement:
        """Both statements about one file.

        Raises:
            BadSidecar: they contradict each other.
        """
        both = {}
        for one in fields(self):
            mine, theirs = getattr(self, one.name), getattr(other, one.name)
            if None not in (mine, theirs) and mine != theirs:
                raise BadSidecar(f"two statements beside the file differ in {one.name}")
            both[one.name] = theirs if mine is None else mine
        return Statement(**both)


def checksum(content: bytes) -> Statement:
    """What `<file>.sha256` states.

    Raises:
        BadSidecar: it is not one line of sha256sum's format.
    """
    lines = [line for line in content.decode("utf-8", "replace").splitlines() if line.strip()]
    match = _CHECKSUM.fullmatch(lines[0].strip()) if len(lines) == 1 else None
    if not match:
        raise BadSidecar("the checksum file is not one line as sha256sum writes it")
    return Statement(sha256=match[1].lower())


def manifest(content: bytes, own: str | None = None) -> dict[str, Statement]:
    """What a manifest states, by file name.

    Args:
        content: its bytes.
        own: the file beside which a `<file>.manifest.json` lies; such a manifest may hold the file's keys at top level.

    Raises:
        BadSidecar: broken JSON, an unknown key, a value of the wrong kind, or a file named twice.
    """
    raw = _mapping(_json(content), "the manifest")
    files = raw.pop("files", None)
    shared = {key: raw.pop(key) for key in [k for k in raw if k in _SHARED]}
    if own is not None and files is None:
        files, raw = [{"name": own} | raw], {}
    _refuse_unknown(raw, "the manifest")
    if not isinstance(files, list) or not files:
        raise BadSidecar("files is missing or is not a list of files")
    found: dict[str, Statement] = {}
    for number, one in enumerate(files, 1):
        where = f"file {number} of the manifest"
        one = _mapping(one, where)
        name = one.pop("name", None)
        if not isinstance(name, str) or name in found or (own is not None and name != own):
            raise BadSidecar(f"{where} has no name, the name of another entry, or not that of the file beside the manifest")
        found[name] = _statement(shared, one, where)
    return found


def _json(content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BadSidecar("the manifest is not strict JSON in UTF-8") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _refuse_constant(_: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadSidecar(f"{where} is not an object")
    return dict(value)


def _refuse_unknown(rest: dict[str, Any], where: str) -> None:
    if rest:
        known = ", ".join(("name", *_SHARED, *(k for k in _CHECKS if k not in _SHARED)))
        raise BadSidecar(f"{where} has {len(rest)} keys that are not known; these are: {known}, files")


def _statement(shared: dict[str, Any], own: dict[str, Any], where: str) -> Statement:
    stated: dict[str, Any] = {}
    for given in (shared, own):
        for key in [k for k in given if k in _CHECKS]:
            value, attribute = given[key], "secret" if key in _LEVELS else key
            if not _CHECKS[key](value):
                raise BadSidecar(f"{key} of {where} has a value of the wrong kind")
            if attribute == "secret":       # the stricter of several levels counts
                stated["secret"] = stated.get("secret", False) or value.strip().lower() not in OPEN_LEVELS
            else:
                stated[attribute] = value.lower() if key == "sha256" else value
    _refuse_unknown({k: v for k, v in own.items() if k not in _CHECKS}, where)
    if "batch_date" in stated:
        stated["batch_date"] = batch_date(stated["batch_date"])
    return Statement(**stated)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _word(value: Any) -> bool:
    return isinstance(value, str) and bool(WORD.fullmatch(value)) and not value.startswith(".") and len(value) <= 64


def _date(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(batch_date(value))
    except WrongUse:
        return False


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "batch_date": _date, "part": _word, "correct": lambda value: isinstance(value, bool),
    **dict.fromkeys(_LEVELS, lambda value: isinstance(value, str)), "rows": _count, "bytes": _count,
    "sha256": lambda value: isinstance(value, str) and re.fullmatch("[0-9a-fA-F]{64}", value) is not None,
}
_SHARED = ("batch_date", "part", "correct", *_LEVELS)
