"""The contract reader: what no engine reads is refused, at every level, and all errors come at once."""
from __future__ import annotations

import copy

import pytest
import yaml

from pipelines.contract import ContractError, dataset, datasets
from pipelines.rules import RuleError, rules
from pipelines.settings import Project, WrongUse

CONTRACT = {
    "apiVersion": "v3.1.0", "kind": "DataContract", "id": "population.pet", "name": "宠物登记", "version": "1.0.0",
    "status": "active", "domain": "population",
    "description": {"purpose": "试验。A trial.", "usage": "内部。Internal.", "limitations": "无。None."},
    "slaProperties": [{"property": "frequency", "value": 1, "unit": "month"}],
    "customProperties": [{"property": "catalogue", "value": {
        "category": "101001/9", "share_class": "有条件共享", "share_mode": "批量交换", "grade": 3, "share_condition": "依法履职"}}],
    "servers": [{"server": "agency", "type": "local", "format": "csv", "path": "inbox/population.pet/agency",
                 "customProperties": [{"property": "department", "value": "试验局"}, {"property": "uscc", "value": "11640000MB1Y00011H"}]}],
    "schema": [{"name": "pet", "businessName": "宠物", "description": "一只一行。One row per pet.",
                "customProperties": [{"property": "load", "value": "upsert"}],
                "properties": [
                    {"name": "id_number", "businessName": "身份号码", "description": "Number", "semanticType": "resident_id",
                     "classification": "personal", "primaryKey": True, "customProperties": [{"property": "at_least", "value": 0.9}]},
                    {"name": "note", "businessName": "备注", "description": "Note", "semanticType": "text", "classification": "internal"}]}],
}


def _project(tmp_path, contract, rule_text: str | None = None) -> Project:
    folder = tmp_path / "warehouse" / "contracts" / "population"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pet.yaml").write_text(contract if isinstance(contract, str) else yaml.safe_dump(contract, allow_unicode=True))
    if rule_text is not None:
        (tmp_path / "expectations" / "population").mkdir(parents=True, exist_ok=True)
        (tmp_path / "expectations" / "population" / "pet.yaml").write_text(rule_text)
    return Project(tmp_path)


def _mutated(path: tuple, key, value) -> dict:
    contract = copy.deepcopy(CONTRACT)
    place = contract
    for step in path:
        place = place[step]
    place[key] = value
    return contract


def test_a_good_contract_is_read_whole(tmp_path):
    found = datasets(_project(tmp_path, CONTRACT))[0]
    assert (found.id, found.load, found.key, found.sources[0].department) == ("population.pet", "upsert", ("id_number",), "试验局")
    assert (found.column("id_number").severity, found.column("id_number").at_least, found.column("note").severity) == ("reject", 0.9, "warn")
    assert dict(found.catalogue)["grade"] == 3


PROPERTY = ("schema", 0, "properties", 0)


@pytest.mark.parametrize(("path", "key", "value", "nearest"), [
    ((), "statuss", "active", "status"),
    (("description",), "purposes", "x", "purpose"),
    (("servers", 0), "encodings", "utf-8", "encoding"),
    (("schema", 0), "busnessName", "x", "businessName"),
    (PROPERTY, "clasification", "sensitive", "classification"),
    (PROPERTY, "semantictype", "text", "semanticType"),
    ((*PROPERTY, "customProperties", 0), "property", "at_leest", "at_least"),
    (("customProperties", 0), "property", "catalog", "catalogue"),
    (("customProperties", 0, "value"), "share_clas", "x", "share_class"),
    (("servers", 0, "customProperties", 0), "property", "departement", "department"),
    (("slaProperties", 0), "property", "frequencie", "frequency"),
])
def test_a_misspelt_key_is_refused_at_every_depth_and_the_nearest_is_named(tmp_path, path, key, value, nearest):
    with pytest.raises(ContractError) as error:
        datasets(_project(tmp_path, _mutated(path, key, value)))
    assert "population/pet.yaml" in str(error.value)
    assert repr(nearest) in str(error.value)


@pytest.mark.parametrize(("path", "key", "value", "says"), [
    ((), "id", "population.cat", "must be 'population.pet'"),
    (PROPERTY, "classification", "secret", "must be one of"),
    (PROPERTY, "primaryKey", "yes please", "must be bool"),
    (PROPERTY, "primaryKey", False, "no primaryKey"),
    (("schema", 0, "customProperties", 0), "value", "merge", "must be one of"),
    (("customProperties", 0, "value"), "grade", "three", "must be int"),
])
def test_wrong_values_are_refused(tmp_path, path, key, value, says):
    with pytest.raises(ContractError, match=says):
        datasets(_project(tmp_path, _mutated(path, key, value)))


@pytest.mark.parametrize("missing", ["classification", "businessName", "description", "semanticType"])
def test_every_column_needs_its_words_and_its_classification(tmp_path, missing):
    contract = copy.deepcopy(CONTRACT)
    del contract["schema"][0]["properties"][1][missing]
    with pytest.raises(ContractError, match=rf"\(note\)\.{missing} is missing"):
        datasets(_project(tmp_path, contract))


def test_a_statutory_catalogue_element_may_not_be_missing(tmp_path):
    contract = copy.deepcopy(CONTRACT)
    del contract["customProperties"][0]["value"]["share_mode"]
    with pytest.raises(ContractError, match="lacks 'share_mode'"):
        datasets(_project(tmp_path, contract))


def test_all_errors_of_all_files_come_at_once(tmp_path):
    contract = _mutated(PROPERTY, "classification", "secret")
    contract["schema"][0]["properties"][1]["semanticTyp"] = "text"
    project = _project(tmp_path, contract)
    (tmp_path / "warehouse/contracts/population/cat.yaml").write_text("id: [unclosed")
    with pytest.raises(ContractError) as error:
        datasets(project)
    text = str(error.value)
    assert "cat.yaml: YAML" in text and "semanticTyp " in text


def test_a_yaml_key_given_twice_is_refused(tmp_path):
    text = yaml.safe_dump(CONTRACT, allow_unicode=True) + "\nstatus: draft\n"
    with pytest.raises(ContractError, match="given twice"):
        datasets(_project(tmp_path, text))


def test_an_unknown_dataset_is_answered_with_those_there_are(tmp_path):
    with pytest.raises(WrongUse, match="population.pet"):
        dataset("population.dog", _project(tmp_path, CONTRACT))


RULE = """
- rule: note_is_short
  zh: 备注不长
  en: the note is short
  holds: length(note) < 5
  indicator: "0104"
  severity: warn
  owner: 试验局
  reason: 试验
  must_fail: {note: abcdefgh}
  must_pass: {note: abc}
"""


def test_rules_are_read_and_unknown_keys_refused(tmp_path):
    project = _project(tmp_path, CONTRACT, RULE)
    found = rules(datasets(project)[0], project)
    assert [r.rule for r in found] == ["note_is_short"]
    for bad, says in [(RULE.replace("severity", "severety"), "Nearest: 'severity'"),
                      (RULE.replace("note: abc}", "nota: abc}"), "Nearest: 'note'"),
                      (RULE + RULE, "declared twice"), (RULE.replace("  owner: 试验局\n", ""), "lacks 'owner'")]:
        broken = _project(tmp_path, CONTRACT, bad)
        with pytest.raises(RuleError, match=says):
            rules(datasets(broken)[0], broken)
