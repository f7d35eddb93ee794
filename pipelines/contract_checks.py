"""What must hold among the keys of one contract, beyond the form of each: of a source that sends files, and across the whole contract."""
from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pipelines.declared import Problems
from pipelines.sources import declaration

if TYPE_CHECKING:
    from pipelines.contract import Dataset

LOADS = ("snapshot", "upsert", "append")
FORMATS = ("auto", "csv", "txt", "fixed", "xlsx", "xls", "ods", "json", "jsonl", "xml", "dbf", "parquet")
ENCODINGS = ("auto", "utf-8", "gb18030", "utf-16", "big5")
FREQUENCY_UNITS = ("day", "week", "month", "quarter", "half-year", "year")


def files(raw: dict, custom: dict[str, Any], problems: Problems, where: str) -> None:
    """What must hold for a source that sends files."""
    inbox = f"inbox/{problems.path.parent.name}.{problems.path.stem}/{raw.get('server')}"
    types = ("local", *declaration.DIALECTS)
    problems.unless(raw.get("type") == "local", f"{where}.type", f"is {raw.get('type')!r}, must be one of {types}")
    problems.unless(raw.get("path") == inbox, f"{where}.path", f"is {raw.get('path')!r}, must be {inbox!r}")
    problems.unless(raw.get("format") in FORMATS, f"{where}.format", f"is {raw.get('format')!r}, must be one of {FORMATS}")
    problems.unless(raw.get("encoding", "auto") in ENCODINGS, f"{where}.encoding", f"must be one of {ENCODINGS}")
    _dialect(raw, custom, problems, where)


def _dialect(raw: dict, custom: dict[str, Any], problems: Problems, where: str) -> None:
    """What must hold among the keys that say how a source writes its files."""
    delimiter, quote, escape, widths = raw.get("delimiter"), custom.get("quote"), custom.get("escape"), custom.get("widths")
    own = f"{where}.customProperties"
    problems.unless(delimiter is None or (0 < len(delimiter.encode()) <= 4 and delimiter not in ('"', "'")), f"{where}.delimiter",
                    "must have 1 to 4 bytes and not be a quote")
    for key, value in (("quote", quote), ("escape", escape)):
        problems.unless(value is None or (len(value.encode()) <= 1 and value != delimiter), own,
                        f"{key} must be one ASCII character or nothing, and not the delimiter")
    problems.unless(bool(widths) == (raw.get("format") == "fixed"), own, "widths belong to format: fixed, which needs them")
    problems.unless(not widths or min(widths) > 0, own, "widths must be above 0")
    problems.unless(not (widths and custom.get("header")) or len(widths) == len(custom["header"]), own, "widths and header differ in number")
    for key, what in (("trailer", "number of records"), ("date_pattern", "batch date")):
        try:
            grouped = custom.get(key) is None or re.compile(custom[key]).groups > 0
        except re.error:
            grouped = False
        problems.unless(grouped, own, f"{key} must be a pattern whose first group is the {what}")


def across(found: Dataset, problems: Problems) -> None:
    """What must hold across the keys of one contract."""
    names = [c.name for c in found.columns]
    for name in {n for n in names if names.count(n) > 1}:
        problems.add("schema[0].properties", f"declares column {name!r} more than once")
    for name in names:      # what is made of a column on the way to its value stands beside it under such names
        taken = name.startswith("_") or any(name.lower().startswith(f"{other.lower()}__") for other in names if other != name)      # the engine knows no capitals
        problems.unless(not taken, "schema[0].properties", f"declares column {name!r}; names that begin with _, or with another column's name and __, are the lake's own")
    problems.unless(bool(found.columns), "schema[0].properties", "declares no column")
    problems.unless(bool(found.key), "schema[0].properties", "declares no primaryKey column")
    problems.unless(found.load in LOADS, "schema[0].customProperties.load", f"is {found.load!r}, must be one of {LOADS}")
    problems.unless(found.on_reject in ("keep", "drop"), "schema[0].customProperties.on_reject", "must be keep or drop")
    problems.unless(0 <= found.loss_budget <= 1, "schema[0].customProperties.loss_budget", "must be between 0 and 1")
    for key, used in (("latest_by", [found.latest_by]), ("identity", found.identity), ("region", [found.region])):
        for name in used:
            problems.known(name, names, f"schema[0].customProperties.{key}")
    units = {"frequency": FREQUENCY_UNITS, "latency": ("d",)}
    for name, _, unit in found.sla:
        problems.known(name, list(units), "slaProperties.property")
        problems.unless(unit in units.get(name, (unit,)), f"slaProperties.{name}.unit", f"is {unit!r}, must be one of {units.get(name)}")
    given = {k for k, v in found.catalogue if v not in (None, "")}
    for key in ("category", "share_class", "share_mode", "share_condition", "grade"):
        problems.unless(key in given, "customProperties.catalogue", f"lacks {key!r} (政务数据共享条例 art. 13)")
    for element, value in (("usage", found.usage), ("frequency", "frequency" in [s[0] for s in found.sla])):
        problems.unless(bool(value), "catalogue", f"lacks {element} (政务数据共享条例 art. 13)")
    for source in found.sources:
        where = f"servers ({source.source}).customProperties"
        for key, used in (("not_sent", source.not_sent), ("constants", dict(source.constants)), ("aliases", dict(source.aliases))):
            for name in used:
                problems.known(name, names, f"{where}.{key}")
        if source.database and source.database.delta:
            problems.unless(found.load == "upsert" and bool(found.op), where, f"extract: {source.database.extract} lands changes and deletions: it "
                            "needs load: upsert and a declared op in the schema's customProperties")
    schedules = {s.database.schedule for s in found.sources if s.database}
    problems.unless(len(schedules) < 2, "servers", "give different schedules; one DAG extracts all databases of a dataset")
    problems.unless(found.table == found.path.stem, "schema[0].name", f"is {found.table!r}, must be {found.path.stem!r}")
    slugs = [s.source for s in found.sources]
    problems.unless(len(set(slugs)) == len(slugs), "servers", "names one source twice")
