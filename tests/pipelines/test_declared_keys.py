"""Each declared key reaches an engine: changing it changes what the engines make. A new key without a case here fails."""
from __future__ import annotations

import copy
import re

import pytest
import yaml

from pipelines import compiler, contract, current, governance, mapping, masks, rules
from pipelines.contract import datasets
from pipelines.declared import Declared
from pipelines.segments import State
from pipelines.settings import Project
from pipelines.sources import declaration
from pipelines.sources.declaration import Database
from tests.support import REPOSITORY

BASE = {
    "apiVersion": "v3.1.0", "kind": "DataContract", "id": "population.pet", "name": "宠物登记", "version": "1.0.0", "status": "active",
    "domain": "population", "description": {"purpose": "甲", "usage": "乙", "limitations": "丙"},
    "slaProperties": [{"property": "frequency", "value": 1, "unit": "month"}, {"property": "latency", "value": 5, "unit": "d"}],
    "customProperties": [{"property": "catalogue", "value": {"category": "101001/9", "share_class": "有条件共享", "share_mode": "批量交换", "grade": 3,
                                                              "share_condition": "丁", "refuse_basis": "戊"}}],
    "servers": [{"server": "agency", "type": "local", "format": "csv", "path": "inbox/population.pet/agency", "encoding": "auto", "delimiter": ",", "description": "己",
                 "customProperties": [{"property": "department", "value": "试验局"}, {"property": "uscc", "value": "11640000MB1Y00011H"},
                                      {"property": "not_sent", "value": []}, {"property": "ignore", "value": []}, {"property": "constants", "value": {}},
                                      {"property": "aliases", "value": {}}, {"property": "part_pattern", "value": "(64)"},
                                      {"property": "quote", "value": '"'}, {"property": "sheet", "value": "表"}, {"property": "escape", "value": '"'},
                                      {"property": "header", "value": []}, {"property": "record_path", "value": "data"}, {"property": "trailer", "value": "(.)"},
                                      {"property": "widths", "value": []}, {"property": "date_pattern", "value": "_(\\d{8})"},
                                      {"property": "feedback", "value": {"encrypt": False}}]}],
    "schema": [{"name": "pet", "businessName": "宠物", "description": "一行",
                "customProperties": [{"property": "load", "value": "upsert"}, {"property": "latest_by", "value": "seen"}, {"property": "identity", "value": ["note"]},
                                     {"property": "region", "value": "county"}, {"property": "op", "value": ["op"]}, {"property": "loss_budget", "value": 0.1},
                                     {"property": "on_reject", "value": "keep"}, {"property": "publish_when", "value": "note <> 'x'"}, {"property": "history", "value": False}],
                "properties": [
                    {"name": "id_number", "businessName": "身份号码", "description": "Number", "semanticType": "resident_id", "classification": "personal",
                     "primaryKey": True, "required": True, "transformSourceObjects": ["sfzh"], "customProperties": [{"property": "pseudonym", "value": "person_id"}]},
                    {"name": "note", "businessName": "备注", "description": "Note", "semanticType": "text", "classification": "internal", "required": False,
                     "customProperties": [{"property": "severity", "value": "warn"}, {"property": "at_least", "value": 0.9}, {"property": "mask", "value": "keep"},
                                          {"property": "keep_words", "value": ["无"]}, {"property": "classified", "value": {"when": "county = '1'", "then": "personal"}}]},
                    {"name": "seen", "businessName": "日期", "description": "Day", "semanticType": "date", "classification": "internal"},
                    {"name": "county", "businessName": "县", "description": "County", "semanticType": "region_code", "classification": "internal"},
                    {"name": "state", "businessName": "状态", "description": "State", "semanticType": "code(yes_no)", "classification": "internal",
                     "customProperties": [{"property": "new_values", "value": "report"}]}]}],
}
HEADER = ("sfzh", "note", "county", "op", "extra", "op2")
OFFICE = {"server": "office", "type": "postgresql", "description": "己", "customProperties": [
    {"property": "department", "value": "试验局"}, {"property": "uscc", "value": "11640000MB1Y00011H"}, {"property": "connection", "value": "office"},
    {"property": "table", "value": "pet"}, {"property": "extract", "value": "watermark"}, {"property": "updated_at", "value": "gxsj"}, {"property": "overlap", "value": 0},
    {"property": "range_by", "value": "id"}, {"property": "range_rows", "value": 10}, {"property": "rows_per_second", "value": 10}, {"property": "connections", "value": 1},
    {"property": "window", "value": "22:00-06:00"}, {"property": "on_cut", "value": "resume"}, {"property": "schedule", "value": "0 0 * * *"}]}
# of a server that is a database: another value (and what has to change with it), and the module that reads it
DATABASE = {
    "connection": ("other", "connecting.py"), "table": ("pet2", "connecting.py"), "extract": ("compare", "extracting.py"), "updated_at": ("changed", "extracting.py"),
    "overlap": (60, "extracting.py"), "range_by": ("no", "extracting.py"), "range_rows": (20, "reading.py"), "rows_per_second": (20, "extracting.py"),
    "connections": (2, "pace.py"), "window": ("00:00-01:00", "pace.py"), "on_cut": ("restart", "extracting.py"), "schedule": ("0 0 1 * *", "declaration.py")}
C, S, T, P = ("customProperties",), ("servers", 0), ("schema", 0), ("schema", 0, "properties", 1)
# where the key stands, the key (or, in customProperties, its position), another value
CASES = {
    "contract.name": ((), "name", "别名"), "contract.version": ((), "version", "2.0.0"), "contract.status": ((), "status", "draft"),
    "contract.description.purpose": (("description",), "purpose", "x"), "contract.description.usage": (("description",), "usage", "x"),
    "contract.description.limitations": (("description",), "limitations", "x"),
    "contract.slaProperties.property": (("slaProperties", 1), "property", "frequency"), "contract.slaProperties.value": (("slaProperties", 1), "value", 9),
    "contract.slaProperties.unit": (("slaProperties", 0), "unit", "week"),
    **{f"catalogue.{k}": ((*C, 0, "value"), k, 2 if k == "grade" else "x") for k in ("category", "share_class", "share_mode", "share_condition", "grade", "refuse_basis")},
    "server.server": (S, "server", "other"), "server.format": (S, "format", "txt"), "server.encoding": (S, "encoding", "utf-8"),
    "server.delimiter": (S, "delimiter", ";"), "server.description": (S, "description", "x"),
    "server.department": ((*S, *C, 0), "value", "别局"), "server.uscc": ((*S, *C, 1), "value", "11640000MB1Y00054Y"),
    "server.not_sent": ((*S, *C, 2), "value", ["note"]), "server.ignore": ((*S, *C, 3), "value", ["extra"]),
    "server.constants": ((*S, *C, 4), "value", {"note": "常"}), "server.aliases": ((*S, *C, 5), "value", {"seen": ["extra"]}),
    "server.part_pattern": ((*S, *C, 6), "value", "(65)"), "server.quote": ((*S, *C, 7), "value", "'"), "server.sheet": ((*S, *C, 8), "value", "另"),
    "server.escape": ((*S, *C, 9), "value", "\\"), "server.header": ((*S, *C, 10), "value", ["a"]), "server.record_path": ((*S, *C, 11), "value", "rows"),
    "server.trailer": ((*S, *C, 12), "value", "(\\d)"), "server.widths": ((*S, *C, 13), "value", [18]), "server.date_pattern": ((*S, *C, 14), "value", "-(\\d{8})"),
    "server.feedback": ((*S, *C, 15), "value", {"encrypt": True}),
    "schema.businessName": (T, "businessName", "x"), "schema.description": (T, "description", "x"),
    "schema.load": ((*T, *C, 0), "value", "snapshot"), "schema.latest_by": ((*T, *C, 1), "value", "note"), "schema.identity": ((*T, *C, 2), "value", ["seen"]),
    "schema.region": ((*T, *C, 3), "value", "note"), "schema.op": ((*T, *C, 4), "value", ["op2"]), "schema.loss_budget": ((*T, *C, 5), "value", 0.2),
    "schema.on_reject": ((*T, *C, 6), "value", "drop"), "schema.publish_when": ((*T, *C, 7), "value", "note <> 'y'"), "schema.history": ((*T, *C, 8), "value", True),
    "property.name": (P, "name", "remark"), "property.businessName": (P, "businessName", "x"), "property.description": (P, "description", "x"),
    "property.semanticType": (P, "semanticType", "org_name"), "property.classification": (("schema", 0, "properties", 2), "classification", "personal"),
    "property.primaryKey": (("schema", 0, "properties", 3), "primaryKey", True), "property.required": (P, "required", True),
    "property.transformSourceObjects": (("schema", 0, "properties", 0), "transformSourceObjects", ["extra"]),
    "property.severity": ((*P, *C, 0), "value", "reject"), "property.at_least": ((*P, *C, 1), "value", 0.8), "property.mask": ((*P, *C, 2), "value", "omit"),
    "property.keep_words": ((*P, *C, 3), "value", ["不详"]), "property.classified": ((*P, *C, 4), "value", {"when": "county = '2'", "then": "personal"}),
    "property.new_values": (("schema", 0, "properties", 4, *C, 0), "value", "hold"),
    "property.pseudonym": (("schema", 0, "properties", 0, *C, 0), "value", "owner_id"),
}
# Keys whose one allowed value the reader enforces (test_contract.py), and those read through another key's name.
FIXED = {"contract.apiVersion", "contract.kind", "contract.id", "contract.domain", "server.type", "server.path", "schema.name"}
# What only an engine's call sees: the engine that reads the attribute of Source or Dataset.
READ_BY = {"status": "steps.py", "encoding": "readers/__init__.py", "delimiter": "readers/dialect.py", "quote": "readers/dialect.py",
           "escape": "readers/dialect.py", "header": "readers/dialect.py", "widths": "readers/delimited.py", "trailer": "readers/delimited.py",
           "record_path": "readers/extracted.py", "sheet": "readers/extracted.py", "part_pattern": "landing.py", "date_pattern": "deliveries.py", "latest_by": "splitting.py", "loss_budget": "staging.py",
           "publish_when": "published.py", "history": "release.py", "grain": "published.py", "table_zh": "published.py", "format": "readers/__init__.py",
           "encrypt_feedback": "feedback/pack.py"}


def _declared() -> set[str]:
    found = set()
    for level, shape in (("contract", contract._CONTRACT), ("server", contract._SERVER), ("schema", contract._SCHEMA), ("property", contract._PROPERTY)):
        for key, inner in shape.items():
            if isinstance(inner, Declared):
                found |= {f"catalogue.{k}" for k in contract._CATALOGUE} if level == "contract" else {f"{level}.{k}" for k in inner.shape}
            elif isinstance(inner, dict):
                found |= {f"{level}.{key}.{k}" for k in inner}
            elif isinstance(inner, list) and isinstance(inner[0], dict) and key == "slaProperties":
                found |= {f"{level}.{key}.{k}" for k in inner[0]}
            elif key not in ("servers", "schema", "properties"):
                found.add(f"{level}.{key}")
    return found


def test_every_declared_key_has_a_case():
    assert _declared() - FIXED == set(CASES) | {f"server.{k}" for k in DATABASE}


def _with_office(**changed: object) -> dict:
    """The contract with a database beside its files; None takes a key away."""
    declared = copy.deepcopy(BASE)
    office = copy.deepcopy(OFFICE)
    custom = {p["property"]: p["value"] for p in office["customProperties"]} | changed
    office["customProperties"] = [{"property": k, "value": v} for k, v in custom.items() if v is not None]
    declared["servers"].append(office)
    return declared


def _read(tmp_path, declared: dict) -> Database:
    path = tmp_path / "warehouse/contracts/population/pet.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(declared, allow_unicode=True), encoding="utf-8")
    return datasets(Project(tmp_path))[0].sources[1].database


@pytest.mark.parametrize("key", DATABASE)
def test_the_key_of_a_database_reaches_the_engine_that_reads_it(tmp_path, key):
    """What engines do with each is tested against real servers in tests/pipelines/sources."""
    value, module = DATABASE[key]
    together = {"updated_at": None, "overlap": None} if key == "extract" else {}
    found = _read(tmp_path, _with_office(**{key: value} | together))
    assert getattr(found, key) == value != getattr(_read(tmp_path / "other", _with_office()), key)
    assert re.search(rf"\b(database|d|found)\.{key}\b", (REPOSITORY / "pipelines/sources" / module).read_text(encoding="utf-8")), (key, module)


def test_every_key_of_a_database_is_listed_for_its_readers():
    guide = (REPOSITORY / "docs/databases.md").read_text(encoding="utf-8")
    assert [k for k in declaration.KEYS if f"| `{k}` |" not in guide] == []


def _effects(tmp_path, declared: dict) -> str:
    """All that the engines derive from a contract, as one text."""
    path = tmp_path / "warehouse/contracts/population/pet.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(declared, allow_unicode=True), encoding="utf-8")
    found = datasets(Project(tmp_path))[0]
    plan = compiler.plan(found, rules.rules(found, Project(tmp_path)))
    header = mapping.map_header(found, found.sources[0], HEADER, "File 1")
    sql = compiler.judge(plan, compiler.standardise(plan, header.cells, header.op, "file", "DATE '2026-11-01'", "NULL"))
    relation = dict.fromkeys(("contract_hash", "version", "as_of", "rows", "withheld_rows", "stale_rows", "disagreements"))
    engines = [sql, compiler.region_of(plan), compiler.content_of(plan), compiler.identity_of(plan), header.unread, [r.public() for r in plan.rules], plan.physical(), masks.published(plan), governance._dataset(plan, relation),
               governance._dataset_columns(plan, {}), current._version(plan, State(None, {}))]
    attributes = {a: getattr(found.sources[0] if hasattr(found.sources[0], a) else found, a) for a in READ_BY}
    return repr(engines) + repr(attributes)


@pytest.mark.parametrize("key", sorted(CASES))
def test_changing_the_key_changes_what_engines_make(tmp_path, key):
    place, name, value = CASES[key]
    changed = copy.deepcopy(BASE)
    at = changed
    for step in place:
        at = at[step]
    assert at[name] != value if name in at else True
    at[name] = value
    if key == "server.server":
        changed["servers"][0]["path"] = "inbox/population.pet/other"
    if key == "server.widths":
        changed["servers"][0]["format"] = "fixed"
    if key == "property.name":
        changed["schema"][0]["customProperties"][2]["value"] = ["remark"]
    if key == "contract.slaProperties.property":
        at["unit"] = "year"
    assert _effects(tmp_path / "a", BASE) != _effects(tmp_path / "b", changed)


@pytest.mark.parametrize(("attribute", "module"), READ_BY.items())
def test_the_attribute_is_read_by_its_engine(attribute, module):
    assert re.search(rf"\.{attribute}\b", (REPOSITORY / "pipelines" / module).read_text(encoding="utf-8")), (attribute, module)


def test_every_key_of_a_rule_reaches_the_plan_or_the_catalogue():
    read = (REPOSITORY / "pipelines/compiler.py").read_text() + (REPOSITORY / "pipelines/proof.py").read_text() + (REPOSITORY / "pipelines/governance.py").read_text()
    missing = [key for key in rules._RULE if not re.search(rf"(rule|business)\.{key}\b", read)]
    assert missing == []


def test_every_key_of_a_rule_across_datasets_reaches_its_proof_and_its_check():
    """What each does is tested in tests/pipelines/checks/test_across.py; `with` is kept as `given`."""
    proof, across = ((REPOSITORY / "pipelines" / file).read_text() for file in ("proof.py", "checks/across.py"))
    assert set(rules._ACROSS) == {"reads", "with"}
    assert all(f"rule.{key}" in proof for key in ("reads", "given")) and "rule.reads" in across


def test_every_limit_of_the_history_has_a_default_and_reaches_the_comparison():
    """Each is moved in tests/pipelines/checks/test_history.py."""
    from pipelines.checks import history

    assert {*history.LIMITS, "reason"} == set(rules._HISTORY) == {*rules.HISTORY, "volume_low", "volume_high", "reason"}
    sql = history.SQL.read_text(encoding="utf-8")
    assert [key for key in history.LIMITS if f"getvariable('{key}')" not in sql] == []


def test_every_key_of_an_entry_that_is_no_rule_reaches_its_check():
    """What each does is tested in tests/pipelines/checks/test_publication.py."""
    read = (REPOSITORY / "pipelines/checks/publication.py").read_text(encoding="utf-8")
    assert set(rules._OWN) == {"history", "published"}
    assert [key for key in rules._PUBLISHED if not re.search(rf"asked(\[|\.get\()\"{key}\"", read.replace("'", '"'))] == []
