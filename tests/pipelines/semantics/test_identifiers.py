"""Properties of the identifiers, against an oracle that shares nothing with the SQL.

Each example is one valid number and all its neighbours in a single query, so a handful of examples tries thousands.
"""
from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.pipelines.semantics import oracle
from tests.pipelines.semantics.layers import judge

FEW = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
VECTORS = list(csv.DictReader(Path(__file__).with_name("identifier_test_vectors.csv").open(encoding="utf-8")))
KINDS = {"ric18": "resident_id", "ric15": "resident_id", "hmt_permit18": "resident_id", "fpr18": "resident_id", "fpr15": "resident_id",
         "uscc": "uscc", "orgcode9": "org_code", "bizlic15": "reg_no", "mobile": "mobile", "postcode": "postal_code"}


def test_all_vectors_are_here():
    assert len(VECTORS) == 71


@pytest.mark.parametrize("kind", sorted(set(KINDS.values())))
def test_vectors_hold_through_the_layers(con, kind):
    mine = [v for v in VECTORS if KINDS.get(v["kind"]) == kind]
    found = judge(con, kind, [v["value"] for v in mine])
    assert [(v["value"], o.reason or "") for v, o in zip(mine, found)] == [(v["value"], v["reason"]) for v in mine]


def _neighbours(number: str, alphabet: str) -> tuple[list[str], list[str]]:
    """Every number with one other character, and every one with two adjacent characters swapped."""
    single = [number[:i] + ch + number[i + 1:] for i in range(len(number)) for ch in alphabet if ch != number[i]]
    swaps = [number[:i] + number[i + 1] + number[i] + number[i + 2:] for i in range(len(number) - 1) if number[i] != number[i + 1]]
    return single, swaps


@FEW
@given(oracle.resident_ids())
def test_resident_id_every_single_error_and_swap_is_caught(con, number):
    single, swaps = _neighbours(number, "0123456789")
    assert judge(con, "resident_id", [number])[0][:3] == ("valid", None, number)
    assert {o.state for o in judge(con, "resident_id", single + swaps)} == {"invalid"}
    digits = [s for s in single if s[:17].isdigit()]
    assert {o.reason for o in judge(con, "resident_id", digits)} == {"checksum"}


@FEW
@given(oracle.resident_ids().filter(lambda n: n[6:8] == "19" and not n[14:17] >= "996"))
def test_fifteen_digits_become_the_eighteen_of_the_standard(con, number):
    assert judge(con, "resident_id", [number[:6] + number[8:17]])[0] == ("valid", None, number, False)


CONFUSED = {"0": "O", "1": "IL", "5": "S", "2": "Z", "8": "B"}


@FEW
@given(oracle.resident_ids(), st.integers(0, 16), st.data())
def test_a_letter_typed_for_a_digit_is_repaired_to_the_number_itself_or_not_at_all(con, number, other, data):
    sent = [number[:i] + ch + number[i + 1:] for i in range(18) for ch in CONFUSED.get(number[i], "")]
    found = judge(con, "resident_id", sent)
    assert {o.reason for o in found} <= {"format"}
    assert {o.stored for o in found} <= {number, None}
    assert all(o.state == "repaired" for o in found if number[10:14] != "0229")
    wrong_too = [s[:other] + str((int(s[other]) + data.draw(st.integers(1, 9))) % 10) + s[other + 1:] for s in sent if s[other].isdigit()]
    clean = {number} | {s for s in sent}
    repaired = [o.stored for o in judge(con, "resident_id", wrong_too) if o.state == "repaired"] if wrong_too else []
    assert not (set(repaired) & clean)
    assert all(oracle.resident_check(r[:17]) == r[17] for r in repaired)


@pytest.mark.parametrize("sent, reason", [
    ("110105OOOO1231002X", "format"),   # four letters: too many to be a slip of the hand
    ("1101054912310O2", "format"),      # fifteen digits hold no check digit that could prove a repair
    ("11010519491231OO2Y", "format"), ("1.10105194912310E+17", "format"), ("330203************", "masked"), ("6401***", "masked")])
def test_what_nothing_proves_is_flagged_not_repaired(con, sent, reason):
    assert judge(con, "resident_id", [sent])[0][:3] == ("invalid", reason, None)


def test_a_repair_must_name_a_county_that_existed(con):
    first = "64999919900101123"
    number = first + oracle.resident_check(first)
    assert judge(con, "resident_id", [number])[0].state == "valid"
    assert judge(con, "resident_id", [number.replace("0", "O", 1)])[0].state == "invalid"


@FEW
@given(oracle.usccs())
def test_uscc_every_single_error_and_swap_is_caught(con, number):
    single, swaps = _neighbours(number, oracle.USCC_ALPHABET)
    assert judge(con, "uscc", [number, number.lower()])[0][:3] == ("valid", None, number)
    for kind in ("uscc", "uscc(lenient)"):
        found = judge(con, kind, single + swaps)
        assert "valid" not in {o.state for o in found}
        assert {o.stored for o in found} <= {None, number}  # L typed for 1 where only a digit can stand


@FEW
@given(oracle.usccs())
def test_uscc_letters_outside_the_alphabet_are_repaired_to_the_code_itself(con, number):
    outside = {"0": "O", "1": "I", "5": "S", "2": "Z"}
    sent = [number[:i] + outside[number[i]] + number[i + 1:] for i in range(1, 18) if number[i] in outside]
    found = judge(con, "uscc", sent)
    assert {(o.state, o.reason, o.stored) for o in found} == {("repaired", "format", number)}


def test_uscc_letters_of_the_alphabet_are_never_guessed(con):
    found = judge(con, "uscc", ["91640104MA75A8C132", "91640104MAV5ABC132"])
    assert [o.state for o in found] == ["invalid", "invalid"]


def test_lenient_uscc_accepts_a_wrong_seventeenth_with_a_right_eighteenth(con):
    code = "91640104123456780R"
    assert judge(con, "uscc", [code])[0].reason == "org_checksum"
    assert judge(con, "uscc(lenient)", [code])[0][:3] == ("valid", None, code)


@FEW
@given(oracle.reg_nos())
def test_reg_no_agrees_with_the_standard(con, number):
    single, swaps = _neighbours(number, "0123456789")
    found = judge(con, "reg_no", [number, *single, *swaps])
    assert found[0].state == "valid"
    for sent, o in zip([*single, *swaps], found[1:]):
        assert (o.state == "valid") == (oracle.reg_no_check(sent[:14]) == sent[14])
    assert {o.state for o in found[1:1 + len(single)]} == {"invalid"}


@FEW
@given(st.text(oracle.BASE36, min_size=8, max_size=8))
def test_org_code_agrees_with_the_standard(con, body):
    codes = [body + ch for ch in "0123456789X"]
    found = [c for c, o in zip(codes, judge(con, "org_code", codes)) if o.state == "valid"]
    assert found == ([body + oracle.org_check(body)] if set(body) - {"0"} else [])


@pytest.mark.parametrize("sent, state, stored", [
    ("11010519491231O02X", "repaired", "11010519491231002X"), ("110105194912310021", "invalid", None), ("E12345678", "valid", "E12345678"),
    ("91640104MA75ABC132", "valid", "91640104MA75ABC132"), ("91640104MA75ABC13A", "invalid", None), ("330203", "invalid", None),
    ("640100000000019", "valid", "640100000000019")])
def test_a_document_number_is_judged_by_what_it_looks_like(con, sent, state, stored):
    assert judge(con, "document_number", [sent])[0][::2][:2] == (state, stored)
