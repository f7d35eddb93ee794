"""plan.json is read as JSON says, also where its rules were read before."""
from __future__ import annotations

import json

import pytest

from pipelines.gate import plans

RULES = [{"rule": "a.required", "zh": "必填，\"rules\": 不算", "bit": 0}, {"rule": "b.code", "zh": ', "waivers": []', "bit": 1}]


def _text(batch: str, **more) -> str:
    return json.dumps({"dataset": "population.person", "batch_id": batch, "rules": RULES, "waivers": [], **more}, ensure_ascii=False)


@pytest.mark.parametrize("text", [
    _text("1"), _text("2"), _text("3", later=[1]), json.dumps({"rules": RULES}), json.dumps({"waivers": [], "rules": RULES}), json.dumps({"rules": RULES, "waivers": []}, indent=1),
    json.dumps({"rules": None, "waivers": []}), json.dumps({"rules": {"a": 1}, "waivers": []}), json.dumps({"of": {"rules": RULES, "waivers": []}}),
    json.dumps({"of": {"rules": RULES, "waivers": []}, "rules": [], "waivers": []}), json.dumps({"rules": [], "of": {"rules": RULES, "waivers": []}}), json.dumps([{"rules": RULES, "waivers": []}]),
    json.dumps({"name": '"rules": ', "rules": RULES, "waivers": []}), "3", "{}", "[]", "null"])
def test_a_plan_says_what_json_says(text):
    wanted = json.loads(text)
    assert plans.read(_text("0"))["rules"] == RULES
    found = plans.read(text)
    assert found == ({"rules": None} | wanted if isinstance(wanted, dict) else wanted)
    if isinstance(found, dict) and isinstance(found["rules"], list):
        assert json.loads(found["rules"].told) == found["rules"] == wanted["rules"]


@pytest.mark.parametrize("cut", [1, 3, 40, 100, 160])
def test_a_torn_plan_is_no_json_also_after_a_whole_one(cut):
    plans.read(_text("0"))
    for text in (_text("1")[:-cut], _text("1").replace("{", "", 1), _text("1") + "}", _text("1").replace(', "waivers": []}', '], "waivers": []}')):
        with pytest.raises(ValueError):
            plans.read(text)


def test_batches_of_the_same_rules_share_them():
    assert plans.read(_text("1"))["rules"] is plans.read(_text("2"))["rules"]
