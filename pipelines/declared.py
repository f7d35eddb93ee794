"""Strict reading of declared files: YAML without duplicate keys, walked against a shape at every level.

A shape is a type, a list of one shape, or a dict of key → shape (`{str: shape}` admits any key).
Nothing unknown passes: each problem names the file, the place, what was found and the nearest valid key.
"""
from __future__ import annotations

import difflib
import pickle
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml


@dataclass
class Problems:
    """Everything wrong with one file, gathered before anything is raised."""

    path: Path
    lines: list[str] = field(default_factory=list)

    def add(self, where: str, what: str) -> None:
        self.lines.append(f"{self.path.parent.name}/{self.path.name}: {where} {what}")

    def unless(self, holds: bool, where: str, what: str) -> None:
        if not holds:
            self.add(where, what)

    def known(self, name: str | None, names: list[str], where: str) -> None:
        """Record a problem when `name` is given and not one of `names`."""
        if name is not None and name not in names:
            self.add(where, f"names {name!r}, which does not exist. {nearest(name, names)}")


def nearest(name: str, names: list[str]) -> str:
    """A sentence with the nearest valid name, or all of them."""
    close = difflib.get_close_matches(str(name), [str(n) for n in names], n=1, cutoff=0.6)
    return f"Nearest: {close[0]!r}." if close else f"Known: {', '.join(map(str, names))}."


@dataclass(frozen=True)
class Declared:
    """A shape and the walk over it."""

    shape: Any

    @staticmethod
    def custom(properties: dict[str, Any]) -> Declared:
        """The shape of an ODCS `customProperties` list whose names and values are these."""
        return Declared(properties)

    def walk(self, value: Any, where: str, problems: Problems) -> bool:
        """True when `value` has this shape; every difference is added to `problems`."""
        before = len(problems.lines)
        _walk(value, self.shape, where, problems)
        return len(problems.lines) == before


def _walk(value: Any, shape: Any, where: str, problems: Problems) -> None:
    if isinstance(shape, Declared):
        _walk_custom(value, shape.shape, where, problems)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            return problems.add(where, f"is {value!r}, must be a list")
        for i, item in enumerate(value):
            _walk(item, shape[0], f"{where}[{i}]", problems)
    elif isinstance(shape, dict):
        _walk_keys(value, shape, where, problems)
    elif not _fits(value, shape):
        problems.add(where, f"is {value!r}, must be {shape.__name__}")


def _fits(value: Any, shape: type) -> bool:
    if shape is object:
        return True
    if shape is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if shape is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, shape)


def _walk_keys(value: Any, shape: dict, where: str, problems: Problems) -> None:
    if not isinstance(value, dict):
        return problems.add(where, f"is {value!r}, must be a mapping")
    for key, inner in value.items():
        place = f"{where}.{key}" if where else str(key)
        if str in shape:
            _walk(inner, shape[str], place, problems)
        elif key in shape:
            _walk(inner, shape[key], place, problems)
        else:
            problems.add(place, f"is not a key that any engine reads. {nearest(key, list(shape))}")


def _walk_custom(value: Any, names: dict[str, Any], where: str, problems: Problems) -> None:
    if not isinstance(value, list):
        return problems.add(where, f"is {value!r}, must be a list of {{property, value}}")
    seen: set[str] = set()
    for i, item in enumerate(value):
        place = f"{where}[{i}]"
        if not isinstance(item, dict) or set(item) != {"property", "value"}:
            problems.add(place, "must be {property: …, value: …}")
            continue
        name = item["property"]
        if name not in names:
            problems.add(place, f"names {name!r}, which no engine reads. {nearest(name, list(names))}")
            continue
        problems.unless(name not in seen, place, f"gives {name!r} twice")
        seen.add(name)
        _walk(item["value"], names[name], f"{place}.{name}", problems)


class _Loader(yaml.CSafeLoader):
    """YAML without duplicate keys and without dates: `2026-01-01` stays text."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict:
    keys = [k.value for k in node.value and [pair[0] for pair in node.value]]
    for key in keys:
        if keys.count(key) > 1:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", node.start_mark)
    return yaml.CSafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: node.value)


@lru_cache(maxsize=2048)
def _parsed(text: bytes) -> bytes:
    """The document in `text`, pickled: a release asks for the same files some fifty times, and everybody may change what he gets."""
    return pickle.dumps(yaml.load(text, Loader=_Loader))  # noqa: S506 - a safe loader


def load_yaml(text: bytes, problems: Problems) -> Any | None:
    """The document in `text`, or None with the YAML error added to `problems`."""
    try:
        found = pickle.loads(_parsed(text))
    except yaml.YAMLError as error:
        problems.add("YAML", str(error).replace("\n", " "))
        return None
    if found is None:
        problems.add("YAML", "is empty")
    return found
