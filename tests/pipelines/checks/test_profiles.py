"""Profiles of accepted batches: counts against counts by hand, made once, and made again after a death in the middle."""
from __future__ import annotations

import pytest
import sqlalchemy as sa

from pipelines import checks, ledger_tables as tables
from pipelines.checks import profiles
from tests.pipelines.checks.conftest import DATASET, person, send
from tests.support import RESIDENCE

CODED = RESIDENCE.replace("description: State, semanticType: text", "description: State, semanticType: code(insurance_status)")


def kept(at, table) -> list[dict]:
    return at.ledger.rows(sa.select(table))


def test_a_profile_counts_what_was_accepted(lake, tmp_path):
    at = lake(contract=CODED)
    send(at, tmp_path, "2026-01-01", [person(1, status="1"), person(2, status="1"), person(3, status="2"), person(4, status="")])
    checks.run(at, [DATASET], "2026-01-02")
    rows = {r["column"]: (r["records"], r["filled"], r["distinct_values"]) for r in kept(at, tables.profiles)}
    assert rows == {"id_number": (4, 4, 4), "name": (4, 4, 1), "birth_date": (4, 4, 1), "region_code": (4, 4, 1), "status": (4, 3, 2)}
    assert {(r["column"], r["value"]): r["rows"] for r in kept(at, tables.profile_values)} == {("status", "1"): 2, ("status", "2"): 1}


def test_sensitive_codes_are_not_listed(lake, tmp_path):
    sensitive = CODED.replace("semanticType: code(insurance_status), classification: internal", "semanticType: code(insurance_status), classification: sensitive")
    at = lake(contract=sensitive)
    send(at, tmp_path, "2026-01-01", [person(1, status="1"), person(2, status="2")])
    checks.run(at, [DATASET], "2026-01-02")
    assert kept(at, tables.profile_values) == [] and len(kept(at, tables.profiles)) == 5


def test_a_correction_is_profiled_and_the_death_before_a_profile_loses_nothing(lake, tmp_path, monkeypatch):
    at = lake(contract=CODED)
    send(at, tmp_path, "2026-01-01", [person(1, status="1"), person(2, status="2")])
    with monkeypatch.context() as patch:
        patch.setattr(profiles, "enter", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            checks.run(at, [DATASET], "2026-01-02")
    assert kept(at, tables.profiles) == []
    checks.run(at, [DATASET], "2026-01-02")
    made = kept(at, tables.profiles)
    monkeypatch.setattr(profiles, "profile", lambda *_: pytest.fail("profiled twice"))
    checks.run(at, [DATASET], "2026-01-02")
    assert kept(at, tables.profiles) == made
    monkeypatch.undo()
    send(at, tmp_path, "2026-01-01", [person(1, status="1")], correct=True)
    checks.run(at, [DATASET], "2026-01-02")
    assert {(r["revision"], r["records"]) for r in kept(at, tables.profiles)} == {(1, 2), (2, 1)}
