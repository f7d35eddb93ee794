"""XML: the elements at one path are records. Part of the extractor (see `spool`).

Attributes are fields like elements (`@name` where both have the name), nested elements are `a.b`; namespaces are left out. The
text is UTF-8 whatever it declares. A document type or an entity is refused. Elements are dropped when their record is written.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser, iterparse

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, iterparse as defused_iterparse
from spool import MAX_COLUMNS, Refused, Spool

Steps = tuple[str, ...]
_LOOK = 4      # levels below which a list of records is not looked for
_EXCEL_2003 = "{urn:schemas-microsoft-com:office:spreadsheet}Workbook"


def extract(order: dict[str, Any], out: Path) -> list[dict[str, Any]]:
    """Write the records of `order['path']`; see `extractor`."""
    try:
        _check_prologue(order["path"])
        wanted, evidence = _list(order["path"], order["record_path"])
        keys: dict[str, None] = {}
        for element in _records(order["path"], wanted):
            keys.update((name, None) for name, _ in _fields(element))
            if len(keys) > MAX_COLUMNS:
                raise Refused("columns")
        if not keys:
            raise Refused("header", "Its records have no fields.")
        line = 0
        with Spool(out / "0.parquet", [_shown(key, keys) for key in keys]) as spool:
            for line, element in enumerate(_records(order["path"], wanted), 1):
                fields = list(_fields(element))
                found = dict(fields)
                if len(found) < len(fields):
                    spool.reject(line, "repeat")
                else:
                    spool.take(line, [found.get(k, "") for k in keys])
        return [spool.facts | {"lines": line, "blank": 0, "evidence": evidence}]
    except DefusedXmlException:
        raise Refused("entity") from None
    except (ParseError, ValueError, RecursionError):
        raise Refused("xml") from None


def _check_prologue(path: str) -> None:
    """Refuse a document type, which can only stand before the root. The rest then needs no defence and is parsed five times faster."""
    with open(path, "rb") as file:
        next(defused_iterparse(file, ("start",), DefusedXMLParser(target=TreeBuilder(), encoding="utf-8", forbid_dtd=True)))


def _events(path: str) -> Iterator[tuple[str, Element]]:
    """Start and end of every element."""
    with open(path, "rb") as file:
        yield from iterparse(file, ("start", "end"), XMLParser(encoding="utf-8"))


@lru_cache(maxsize=MAX_COLUMNS)
def _name(tag: str) -> str:
    """A tag or attribute without its namespace."""
    return tag.rpartition("}")[2]


def _shown(key: str, keys: dict[str, None]) -> str:
    """A field as the header calls it: an attribute by its plain name, unless an element has that."""
    plain = key.replace("@", "")
    return key if plain in keys else plain


def _records(path: str, wanted: Steps) -> Iterator[Element]:
    """Every element at the path `wanted`, whole; all others are dropped."""
    above: list[Element] = []
    names: list[str] = []
    at, depth, deepest = list(wanted), 0, len(wanted)
    for event, element in _events(path):
        if event == "start":
            depth += 1
            if depth <= deepest:
                above.append(element)
                names.append(_name(element.tag))
            continue
        if depth == deepest and names == at:
            yield element
        if depth <= deepest:
            above.pop()
            names.pop()
        if above and (depth <= deepest or depth == deepest + 1 and names != at):
            above[-1].remove(element)
        depth -= 1


def _fields(element: Element, name: str = "") -> Iterator[tuple[str, str]]:
    """(name, text) of everything inside an element."""
    below = f"{name}." if name else ""
    for key, value in element.items():
        yield f"{below}@{_name(key)}", value
    own = (element.text or "") + "".join([child.tail or "" for child in element])
    if (name and not len(element)) or own.strip():
        yield name or _name(element.tag), own
    for child in element:
        if len(child) or child.attrib:
            yield from _fields(child, below + _name(child.tag))
        else:
            yield below + _name(child.tag), child.text or ""


def _list(path: str, declared: str | None) -> tuple[Steps, str]:
    """(path of the record elements from the root, how it was found).

    Raises:
        Refused: record_path, header (there is no element below the root), form (a spreadsheet of Excel 2003).
    """
    counts, parents = _look(path)
    if declared:
        wanted = tuple(declared.split("."))
        if len(wanted) <= _LOOK and not counts[wanted]:
            raise Refused("record_path", "no element stands at the declared path")
        return wanted, "the declared elements"
    root = next(iter(counts))
    if root not in parents:
        raise Refused("header", "Its list of records is empty.")
    repeated = [p for p in counts if len(p) == 2 and counts[p] > 1] or [p for p in counts if len(p) == 3 and counts[p] > 1]
    if len(repeated) == 1:
        return repeated[0], "the only repeated element"
    single = root
    while not repeated and len(below := [p for p in parents if p[:-1] == single]) == 1:
        single = below[0]
    if repeated or single == root:
        raise Refused("record_path", f"{len(repeated)} elements are repeated")
    return single, "the only element with fields"


def _look(path: str) -> tuple[Counter[Steps], set[Steps]]:
    """(how often elements of a path stand in one parent at most, the paths of elements with attributes or children)."""
    counts: Counter[Steps] = Counter()
    parents: set[Steps] = set()
    above: list[tuple[Element, dict[str, int]]] = []      # elements and how often each child stands in them
    at: Steps = ()
    depth = 0
    for event, element in _events(path):
        if event == "end":
            if depth <= _LOOK:
                above.pop()
                at = at[:-1]
            if above and depth <= _LOOK + 1:
                above[-1][0].remove(element)
            depth -= 1
            continue
        depth += 1
        if depth > _LOOK:
            parents.add(at)
            continue
        if not above and element.tag == _EXCEL_2003:
            raise Refused("form", "It is a spreadsheet in the XML of Excel 2003.")
        if above:
            parents.add(at)
        name = _name(element.tag)
        at = (*at, name)
        seen = above[-1][1] if above else {}
        seen[name] = seen.get(name, 0) + 1
        counts[at] = max(counts[at], seen[name])
        if element.attrib:
            parents.add(at)
        above.append((element, {}))
    return counts, parents
