"""JSON: the objects of one list, or one object per line. Part of the extractor (see `spool`).

Numbers keep their digits, values that are objects or lists become compact JSON text, null and absent are ''.
"""
from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import ijson
from marks import DAMAGE
from spool import MAX_COLUMNS, Refused, Spool

MAX_DEPTH = 500
_BOM = b"\xef\xbb\xbf"
_PLACES = 30      # zeros behind the point before a number is written with an exponent


class Record(dict):
    """A JSON object that knows whether one of its keys stood twice."""

    repeated = False

    def __setitem__(self, key: str, value: Any) -> None:
        self.repeated = self.repeated or key in self
        super().__setitem__(key, value)

    @classmethod
    def of(cls, pairs: list[tuple[str, Any]]) -> Record:
        """From the pairs of an object, in order."""
        made = cls(pairs)
        made.repeated = len(made) < len(pairs)
        return made


class Digits(str):
    """A number as it was written."""


class Bad(Exception):
    """A record that cannot be taken; its text is the reason."""


def extract(order: dict[str, Any], out: Path) -> list[dict[str, Any]]:
    """Write the records of `order['path']`; see `extractor`."""
    lined = order["form"] == "jsonl"
    path = Path(order["path"])
    try:
        if lined:
            return [_write(lambda: _lines(path), out) | {"evidence": "one object a line"}]
        wanted, evidence = _list(path, order["record_path"])
        return [_write(lambda: enumerate(_items(path, wanted), 1), out) | {"evidence": evidence}]
    except (ijson.JSONError, ValueError, ArithmeticError):
        raise Refused("json") from None


def _write(records: Any, out: Path) -> dict[str, Any]:
    """Two passes: the keys of all records in order of first appearance, then the records. `records()` gives (line, value)."""
    keys: dict[str, None] = {}
    for _, value in records():
        if isinstance(value, Record):
            keys.update(dict.fromkeys(k for k in value if DAMAGE not in k and "\0" not in k))
            if len(keys) > MAX_COLUMNS:
                raise Refused("columns")
    if not keys:
        raise Refused("header", "It holds no record with a key.")
    line = blank = 0
    with Spool(out / "0.parquet", list(keys)) as spool:
        for line, value in records():
            if value is None:
                blank += 1
                continue
            try:
                fields = _fields(value)
                spool.take(line, [fields.get(k, "") for k in keys])
            except Bad as bad:
                spool.reject(line, str(bad))
    return spool.facts | {"lines": line, "blank": blank}


def _fields(value: Any) -> dict[str, str]:
    """A record as texts."""
    if isinstance(value, Bad):
        raise value
    if not isinstance(value, Record):
        raise Bad("json")
    if value.repeated:
        raise Bad("repeat")
    for key in value:
        if DAMAGE in key or "\0" in key:
            raise Bad("encoding" if DAMAGE in key else "nul")
    try:
        return {key: item if isinstance(item, str) else "" if item is None else _compact(item) for key, item in value.items()}
    except RecursionError:
        raise Bad("json") from None


def _compact(value: Any) -> str:
    """JSON text without blanks."""
    if isinstance(value, Record):
        if value.repeated:
            raise Bad("repeat")
        return "{" + ",".join(f"{_compact(k)}:{_compact(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_compact, value)) + "]"
    if isinstance(value, Digits):
        return value
    if isinstance(value, Decimal):
        return format(value, "f") if -_PLACES <= value.as_tuple().exponent <= 0 else str(value)
    return json.dumps(value, ensure_ascii=False)


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    """(line, value) of every line: None when it is blank, Bad when it is no JSON."""
    with open(path, encoding="utf-8-sig", newline=None) as file:
        for number, line in enumerate(file, 1):
            yield number, _value(line) if line.strip() else None


def _value(line: str) -> Any:
    if DAMAGE in line or "\0" in line:
        return Bad("encoding" if DAMAGE in line else "nul")
    try:
        value = json.loads(line, object_pairs_hook=Record.of, parse_float=Digits, parse_int=Digits, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return Bad("json" if line.endswith("\n") else "cut")
    return Bad("json") if value is None else value


def _no_number(name: str) -> None:
    raise ValueError(name)


def _items(path: Path, wanted: str) -> Iterator[Any]:
    """The items of the list at the dotted path `wanted`; a null is Bad, because None is a blank line."""
    with open(path, "rb") as file:
        for item in ijson.items(_start(file), f"{wanted}.item" if wanted else "item", map_type=Record):
            yield Bad("json") if item is None else item


def _list(path: Path, declared: str | None) -> tuple[str, str]:
    """(dotted path of the list of records, how it was found).

    Raises:
        Refused: record_path, header (the list is empty), json.
    """
    if declared is None:
        with open(path, "rb") as file:
            if [event for event, _ in islice(ijson.basic_parse(_start(file)), 2)] == ["start_array", "start_map"]:
                return "", "the document is a list"
    found = list(_lists(path))
    at = [place for place, objects, items in found if objects and declared in (None, place)]
    if len(at) == 1:
        return at[0], "the declared list" if declared else "the only list of objects"
    if any(not items and declared in (None, place) for place, _, items in found) and not at:
        raise Refused("header", "Its list of records is empty.")
    raise Refused("record_path", "the declared path leads to no list of objects" if declared else f"it holds {len(at)} lists of objects")


def _lists(path: Path) -> Iterator[tuple[str, bool, bool]]:
    """(dotted path, holds an object, holds anything) of every list that is not inside another."""
    keys: list[str] = []
    inside, objects, items = 0, False, False
    with open(path, "rb") as file:
        for event, value in ijson.basic_parse(_start(file)):
            opens, closes = event in ("start_map", "start_array"), event in ("end_map", "end_array")
            if inside:
                objects = objects or (inside == 1 and event == "start_map")
                items = items or not closes
                inside += opens - closes
                if not inside:
                    yield ".".join(keys), objects, items
            elif event == "map_key":
                keys[-1] = value
            elif event == "start_array":
                inside, objects, items = 1, False, False
            elif opens:
                keys.append("")
            elif closes:
                keys.pop()
            if inside + len(keys) > MAX_DEPTH:
                raise Refused("json")


def _start(file: BinaryIO) -> BinaryIO:
    """The file behind its byte order mark."""
    if file.read(len(_BOM)) != _BOM:
        file.seek(0)
    return file
