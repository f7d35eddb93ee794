"""Contracts: `warehouse/contracts/<domain>/<dataset>.yaml` (Open Data Contract Standard v3.1) to `Dataset`.

The reader accepts only the keys that some engine of this project reads, at every level, `customProperties`
included; anything else is refused with its file, its place and the nearest valid key. All errors of all files
are raised together. Imports YAML and the standard library only: DAG parsing pays for this module.
"""
from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from pipelines import contract_checks
from pipelines.declared import Declared, Problems, load_yaml
from pipelines.settings import Project, WrongUse
from pipelines.sources import declaration
from pipelines.sources.declaration import Database

CLASSIFICATIONS = ("public", "internal", "personal", "sensitive")
SEVERITIES = ("block", "reject", "warn")
NEW_VALUES = ("hold", "report")

_CATALOGUE = {"category": str, "share_class": str, "share_mode": str, "share_condition": str, "grade": int,
              "refuse_basis": str}
_CUSTOM = {
    "contract": {"catalogue": _CATALOGUE},
    "server": {"department": str, "uscc": str, "part_pattern": str, "date_pattern": str, "quote": str, "escape": str, "sheet": str,
               "header": [str], "widths": [int], "record_path": str, "trailer": str,
               "not_sent": [str], "ignore": [str], "feedback": {"encrypt": bool}, "constants": {str: object}, "aliases": {str: [str]}, **declaration.KEYS},
    "schema": {"load": str, "latest_by": str, "identity": [str], "region": str, "op": [str], "loss_budget": float,
               "on_reject": str, "publish_when": str, "history": bool},
    "property": {"severity": str, "at_least": float, "mask": str, "pseudonym": str, "keep_words": [str], "new_values": str,
                 "classified": {"when": str, "then": str}},
}
_PROPERTY = {"name": str, "businessName": str, "description": str, "semanticType": str, "classification": str,
             "primaryKey": bool, "required": bool, "transformSourceObjects": [str],
             "customProperties": Declared.custom(_CUSTOM["property"])}
_SERVER = {"server": str, "type": str, "format": str, "path": str, "encoding": str, "delimiter": str,
           "description": str, "customProperties": Declared.custom(_CUSTOM["server"])}
_SCHEMA = {"name": str, "businessName": str, "description": str, "properties": [_PROPERTY],
           "customProperties": Declared.custom(_CUSTOM["schema"])}
_CONTRACT = {"apiVersion": str, "kind": str, "id": str, "name": str, "version": str, "status": str, "domain": str,
             "description": {"purpose": str, "usage": str, "limitations": str},
             "slaProperties": [{"property": str, "value": float, "unit": str}],
             "servers": [_SERVER], "schema": [_SCHEMA],
             "customProperties": Declared.custom(_CUSTOM["contract"])}


@dataclass(frozen=True)
class Column:
    """One declared column of a dataset."""

    name: str
    zh: str
    en: str
    type: str
    classification: str
    primary_key: bool = False
    required: bool = False
    aliases: tuple[str, ...] = ()
    severity: str = "warn"
    at_least: float | None = None
    mask: str | None = None
    pseudonym: str | None = None
    keep_words: tuple[str, ...] = ()
    new_values: str = "report"       # of code(list) columns: what a code outside its list does to the batch
    classified_when: str | None = None
    classified_then: str | None = None

    @property
    def strictest(self) -> str:
        """The stricter of the plain and the conditional classification."""
        both = (self.classification, self.classified_then or "public")
        return max(both, key=CLASSIFICATIONS.index)


@dataclass(frozen=True)
class Source:
    """One 数源部门 that sends a dataset, and how it sends it. `rank` 0 has the highest authority."""

    source: str
    rank: int
    department: str
    uscc: str
    format: str
    encoding: str = "auto"
    delimiter: str | None = None      # None: told from the header
    quote: str | None = None          # None: told from the first lines; "": there is none
    escape: str | None = None
    header: tuple[str, ...] = ()      # of files without a header
    widths: tuple[int, ...] = ()      # fixed width, in bytes
    sheet: str | None = None
    record_path: str | None = None
    trailer: str | None = None        # pattern of the last row; its first group is the number of records
    part_pattern: str | None = None
    date_pattern: str | None = None   # of the file name: its first group is the batch date
    note: str = ""
    not_sent: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    constants: tuple[tuple[str, Any], ...] = ()
    aliases: tuple[tuple[str, tuple[str, ...]], ...] = ()
    database: Database | None = None  # None: it sends files
    encrypt_feedback: bool = False    # what goes back to it is a workbook with a password


@dataclass(frozen=True)
class Dataset:
    """One contract: everything the engines derive a dataset's table, rules, view and DAG from."""

    id: str
    name: str
    domain: str
    version: str
    status: str
    purpose: str
    usage: str
    limitations: str
    table: str
    table_zh: str
    grain: str
    load: str
    columns: tuple[Column, ...]
    sources: tuple[Source, ...]
    catalogue: tuple[tuple[str, Any], ...]
    sla: tuple[tuple[str, float, str], ...]
    latest_by: str | None
    identity: tuple[str, ...]
    region: str | None
    op: tuple[str, ...]
    loss_budget: float
    on_reject: str
    publish_when: str | None
    history: bool
    path: Path
    raw_hash: str

    @cached_property
    def key(self) -> tuple[str, ...]:
        """Names of the primary-key columns, in declared order."""
        return tuple(c.name for c in self.columns if c.primary_key)

    def column(self, name: str) -> Column:
        """The column called `name`; KeyError when the contract has none."""
        return {c.name: c for c in self.columns}[name]

    def source(self, name: str) -> Source:
        """The source whose slug, department name or USCC is `name`.

        Raises:
            WrongUse: the contract lists no such source.
        """
        for source in self.sources:
            if name in (source.source, source.department, source.uscc):
                return source
        known = ", ".join(f"{s.source} ({s.department})" for s in self.sources)
        raise WrongUse(f"{self.id} has no source {name!r}. Its contract lists: {known}.")


class ContractError(WrongUse):
    """One or more contracts are not acceptable; the message lists every reason."""


def datasets(project: Project | None = None) -> tuple[Dataset, ...]:
    """Every dataset of the project, in order of id.

    Raises:
        ContractError: any contract is wrong; all problems of all contracts are listed.
    """
    root = (project or Project.open()).root
    files = sorted((root / "warehouse" / "contracts").glob("*/*.yaml"))
    return _read_all(tuple((f, f.stat().st_mtime_ns) for f in files))


def dataset(dataset_id: str, project: Project | None = None) -> Dataset:
    """The dataset called `dataset_id`, reading its contract only.

    Raises:
        WrongUse: there is no such contract; the message lists those there are.
    """
    root = project or Project.open()
    domain, _, name = dataset_id.partition(".")
    path = root.contracts / domain / f"{name}.yaml"
    if not name or not path.is_file():
        known = ", ".join(f"{p.parent.name}.{p.stem}" for p in sorted(root.contracts.glob("*/*.yaml")))
        raise WrongUse(f"There is no dataset {dataset_id!r}. Contracts exist for: {known}.")
    return _read_all(((path, path.stat().st_mtime_ns),))[0]


@lru_cache(maxsize=256)
def _read_all(files: tuple[tuple[Path, int], ...]) -> tuple[Dataset, ...]:
    found, errors = [], []
    for path, _ in files:
        problems = Problems(path)
        one = _read(path, problems)
        errors += problems.lines
        if one is not None and not problems.lines:
            found.append(one)
    if errors:
        raise ContractError("\n".join(errors))
    return tuple(found)


def _read(path: Path, problems: Problems) -> Dataset | None:
    text = path.read_bytes()
    raw = load_yaml(text, problems)
    if raw is None or not Declared(_CONTRACT).walk(raw, "", problems):
        return None
    fixed = {"apiVersion": "v3.1.0", "kind": "DataContract", "id": f"{path.parent.name}.{path.stem}",
             "domain": path.parent.name, "status": ("draft", "active", "deprecated")}
    for key, want in fixed.items():
        allowed = want if isinstance(want, tuple) else (want,)
        problems.unless(raw.get(key) in allowed, key, f"is {raw.get(key)!r}, must be {' or '.join(map(repr, allowed))}")
    for key in ("name", "version", "description", "slaProperties", "servers", "schema", "customProperties"):
        problems.unless(bool(raw.get(key)), key, "is missing")
    if len(raw.get("schema") or ()) != 1:
        problems.add("schema", "must hold exactly one table")
        return None
    table, custom = raw["schema"][0], _custom(raw["schema"][0])
    sources = tuple(_source(s, i, problems, f"servers[{i}]") for i, s in enumerate(raw.get("servers") or ()))
    columns = tuple(_column(c, problems, f"schema[0].properties[{i}]") for i, c in enumerate(table.get("properties") or ()))
    if problems.lines:
        return None
    found = Dataset(
        id=raw["id"], name=raw["name"], domain=raw["domain"], version=raw["version"], status=raw["status"],
        purpose=raw["description"].get("purpose", ""), usage=raw["description"].get("usage", ""),
        limitations=raw["description"].get("limitations", ""), table=table.get("name", ""),
        table_zh=table.get("businessName", ""), grain=table.get("description", ""), load=custom.get("load", ""),
        columns=columns, sources=sources, catalogue=tuple(sorted((_custom(raw).get("catalogue") or {}).items())),
        sla=tuple((s["property"], float(s["value"]), s["unit"]) for s in raw["slaProperties"]),
        latest_by=custom.get("latest_by"), identity=tuple(custom.get("identity") or ()), region=custom.get("region"),
        op=tuple(custom.get("op") or ()), loss_budget=float(custom.get("loss_budget", 0.05)),
        on_reject=custom.get("on_reject", "keep"), publish_when=custom.get("publish_when"), history=bool(custom.get("history")), path=path,
        raw_hash=hashlib.sha256(json.dumps(raw, sort_keys=True, ensure_ascii=False, default=str).encode()).hexdigest(),
    )
    contract_checks.across(found, problems)
    return found


def _custom(raw: dict) -> dict[str, Any]:
    return {p["property"]: p["value"] for p in raw.get("customProperties") or ()}


def _source(raw: dict, rank: int, problems: Problems, where: str) -> Source:
    custom = _custom(raw)
    problems.unless(bool(raw.get("server")), f"{where}.server", "is missing")
    for key in ("department", "uscc"):
        problems.unless(bool(custom.get(key)), f"{where}.customProperties", f"lacks {key!r}")
    database = declaration.database(raw, custom, problems, where)
    if database is None:
        contract_checks.files(raw, custom, problems, where)
    return Source(
        source=raw.get("server", ""), rank=rank, department=custom.get("department", ""), uscc=custom.get("uscc", ""),
        format="parquet" if database else raw.get("format", ""), encoding=raw.get("encoding", "auto"), delimiter=raw.get("delimiter"),
        quote=custom.get("quote"), escape=custom.get("escape"), header=tuple(custom.get("header") or ()),
        widths=tuple(custom.get("widths") or ()), sheet=custom.get("sheet"), record_path=custom.get("record_path"),
        trailer=custom.get("trailer"), part_pattern=custom.get("part_pattern"), date_pattern=custom.get("date_pattern"),
        note=raw.get("description", ""),
        not_sent=tuple(custom.get("not_sent") or ()), ignore=tuple(custom.get("ignore") or ()),
        constants=tuple((custom.get("constants") or {}).items()),
        aliases=tuple((k, tuple(v)) for k, v in (custom.get("aliases") or {}).items()), database=database,
        encrypt_feedback=bool((custom.get("feedback") or {}).get("encrypt")),
    )


def _column(raw: dict, problems: Problems, where: str) -> Column:
    custom = _custom(raw)
    where = f"{where} ({raw.get('name')})"
    for key in ("name", "businessName", "description", "semanticType", "classification"):
        problems.unless(bool(raw.get(key)), f"{where}.{key}", "is missing")
    strict = bool(raw.get("primaryKey") or raw.get("required"))
    name = raw.get("name") or ""
    classified = custom.get("classified") or {}
    for key, allowed in (("classification", CLASSIFICATIONS), ("severity", SEVERITIES)):
        value = raw.get(key, custom.get(key))
        problems.unless(value is None or value in allowed, f"{where}.{key}", f"is {value!r}, must be one of {allowed}")
    watched = custom.get("new_values")
    problems.unless(watched is None or watched in NEW_VALUES, f"{where}.new_values", f"is {watched!r}, must be one of {NEW_VALUES}")
    problems.unless(watched is None or (raw.get("semanticType") or "").startswith("code("), f"{where}.new_values", "belongs to a column of a type code(list); no other has a list")
    problems.unless(watched is None or "sensitive" not in (raw.get("classification"), classified.get("then")), f"{where}.new_values",
                    "is not for a sensitive column: its values are never listed")
    if classified:
        complete = set(classified) == {"when", "then"} and classified["then"] in CLASSIFICATIONS
        problems.unless(complete, f"{where}.classified", f"needs when: and then: (one of {CLASSIFICATIONS})")
    return Column(
        name=name, zh=raw.get("businessName", ""), en=raw.get("description", ""), type=raw.get("semanticType", ""),
        classification=raw.get("classification", ""), primary_key=bool(raw.get("primaryKey")),
        required=bool(raw.get("required") or raw.get("primaryKey")),
        aliases=tuple(raw.get("transformSourceObjects") or ()),
        severity=custom.get("severity", "reject" if strict else "warn"), at_least=custom.get("at_least"),
        mask=custom.get("mask"), pseudonym=custom.get("pseudonym"), keep_words=tuple(custom.get("keep_words") or ()),
        new_values=custom.get("new_values") or "report",
        classified_when=classified.get("when"), classified_then=classified.get("then"),
    )
