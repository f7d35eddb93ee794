"""XML: the elements at one path are records. Part of the extractor (see `spool`).

Attributes are fields like elements (`@name` where both have the name), nested elements `a.b`; namespaces are left out. The text is UTF-8 whatever it declares. A document
type or an entity is refused. Elements are dropped as soon as their record is written.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, iterparse
from spool import MAX_COLUMNS, Refused, Spool

Path_ = tuple[str, ...]
_LOOK = 4      # levels below which a list of records is not looked for
_EXCEL_2003 = "{urn:schemas-microsoft-com:office:spreadsheet}Workbook"


def extract(order: dict[str, Any], out: Path) -> list[dict[str, Any]]:
    """Write the records of `order['path']`; see `extractor`."""
    try:
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


def _events(path: str) -> Iterator[tuple[str, Element]]:
    """Start and end of every element."""
    with open(path, "rb") as file:
        parser = DefusedXMLParser(target=TreeBuilder(), encoding="utf-8", forbid_dtd=True)
        yield from iterparse(file, ("start", "end"), parser)


def _name(tag: str) -> str:
    """A tag or attribute without its namespace."""
    return tag.rpartition("}")[2]


def _shown(key: str, keys: dict[str, None]) -> str:
    """A field as the header calls it: an attribute by its plain name, unless an element has that."""
    plain = key.replace("@", "")
    return key if plain in keys else plain


def _records(path: str, wanted: Path_) -> Iterator[Element]:
    """Every element at the path `wanted`, whole; all others are dropped."""
    above: list[Element] = []
    names: list[str] = []
    for event, element in _events(path):
        if event == "start":
            above.append(element)
            names.append(_name(element.tag))
            continue
        at = tuple(names) if len(names) == len(wanted) else ()
        if at == wanted:
            yield element
        above.pop()
        names.pop()
        if above and (len(names) < len(wanted) or tuple(names[:len(wanted)]) != wanted):
            above[-1].remove(element)


def _fields(element: Element, name: str = "") -> Iterator[tuple[str, str]]:
    """(name, text) of everything inside an element."""
    below = f"{name}." if name else ""
    for key, value in element.attrib.items():
        yield f"{below}@{_name(key)}", value
    own = (element.text or "") + "".join(child.tail or "" for child in element)
    if own.strip() or (name and not len(element)):
        yield name or _name(element.tag), own
    for child in element:
        yield from _fields(child, below + _name(child.tag))


def _list(path: str, declared: str | None) -> tuple[Path_, str]:
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


def _look(path: str) -> tuple[Counter[Path_], set[Path_]]:
    """(how often elements of a path stand in one parent at most, the paths of elements with attributes or children)."""
    counts: Counter[Path_] = Counter()
    parents: set[Path_] = set()
    above: list[tuple[Element, Counter[str]]] = []
    names: list[str] = []
    for event, element in _events(path):
        if event == "end":
            above.pop()
            names.pop()
            if above:
                above[-1][0].remove(element)
            continue
        if not names and element.tag == _EXCEL_2003:
            raise Refused("form", "It is a spreadsheet in the XML of Excel 2003.")
        names.append(_name(element.tag))
        if len(names) <= _LOOK:
            at = tuple(names)
            if above:
                above[-1][1][names[-1]] += 1
                parents.add(at[:-1])
            counts[at] = max(counts[at], above[-1][1][names[-1]] if above else 1)
            if element.attrib:
                parents.add(at)
        above.append((element, Counter()))
    return counts, parents
