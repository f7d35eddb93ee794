"""A code that no list holds yet: the batch is held, an officer accepts the code, the same batch is accepted; revoked, new ones are held again."""
from __future__ import annotations

import pytest
import sqlalchemy as sa

from pipelines import accepting, ledger_tables as tables, steps
from pipelines.settings import WrongUse
from tests.support import HEADER, RESIDENCE, desk, resident_id, small_project, write_csv

DATASET = "population.residence"
CONTRACT = RESIDENCE.replace("LOAD", "upsert").replace(
    "businessName: 状态, description: State, semanticType: text, classification: internal}",
    "businessName: 状态, description: State, semanticType: code(insurance_status), classification: internal, "
    "customProperties: [{property: severity, value: reject}, {property: at_least, value: 0.9}]}")
GIVEN = {"label": "暂停（试点）", "document": "人社发〔2026〕1号", "by": "质量科"}


@pytest.fixture
def at(tmp_path):
    return desk(tmp_path, small_project(tmp_path / "project", population__residence=CONTRACT))


def send(at, folder, day: str) -> tuple[list[str], list[str]]:
    rows = [(resident_id(n), "赵一", "1990-01-01", "640104", "1" if n > 3 else "8X", "") for n in range(1, 11)]
    steps.submit(DATASET, [write_csv(folder / f"{day}.csv", HEADER, rows)], "police", day, desk=at, part="640100")
    return ingest(at)


def ingest(at) -> tuple[list[str], list[str]]:
    """(batches that waited, those accepted)."""
    keys = steps.receive(DATASET, desk=at)
    accepted = steps.judge(DATASET, steps.stage(DATASET, keys, at), at)
    steps.commit(DATASET, accepted, at)
    return keys, accepted


def test_a_held_batch_is_judged_again_once_its_code_is_accepted(at, tmp_path):
    waited, accepted = send(at, tmp_path, "2026-01-01")
    assert (len(waited), accepted) == (1, []) and ingest(at) == ([], []), "held, and not judged again while nothing changed"
    before = at.ledger.rows(sa.select(tables.batches))[0]
    made = accepting.accept(DATASET, "status", "8x", desk=at, **GIVEN)
    assert (made["value"], made["list"], at.ledger.added_codes()) == ("8X", "insurance_status", (("insurance_status", "8X", GIVEN["label"]),))
    waited, accepted = ingest(at)
    assert waited == accepted != []
    after = at.ledger.rows(sa.select(tables.batches))[0]
    assert (after["state"], after["accepted"], after["contract_hash"]) == ("accepted", 10, before["contract_hash"])
    assert after["lists_hash"] != before["lists_hash"], "which lists a batch was judged under is pinned"
    steps.release(at)
    import duckdb

    with duckdb.connect(str(at.lake.database), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM population.residence WHERE status = '8X'").fetchone() == (3,)
        assert con.execute("SELECT code_name('insurance_status', '8X')").fetchone() == (GIVEN["label"],)
        assert con.execute("SELECT value, document, accepted_by FROM governance.accepted_values").fetchall() == [("8X", GIVEN["document"], GIVEN["by"])]
    accepting.revoke(made["id"], at)
    assert send(at, tmp_path, "2026-02-01")[1] == [], "revoked: held again"
    assert [r["state"] for r in at.ledger.rows(sa.select(tables.batches).order_by(tables.batches.c.batch_date))] == ["accepted", "held"]


@pytest.mark.parametrize(("changed", "says"), [
    ({"column": "name"}, "only columns of a type code"), ({"column": "nobody"}, "Its columns are"), ({"value": "张三丰"}, "at most eight letters and digits"),
    ({"value": "123456789"}, "at most eight"), ({"value": "1"}, "in the list insurance_status already"), ({"label": " "}, "--label"),
    ({"document": ""}, "--document"), ({"by": ""}, "--by")])
def test_what_is_not_accepted(at, changed, says):
    wish = {"column": "status", "value": "8X", **GIVEN} | changed
    with pytest.raises(WrongUse, match=says):
        accepting.accept(DATASET, wish.pop("column"), wish.pop("value"), desk=at, **wish)
    assert at.ledger.added_codes() == ()


def test_only_an_acceptance_in_force_is_revoked(at):
    made = accepting.accept(DATASET, "status", "8X", desk=at, **GIVEN)
    with pytest.raises(WrongUse, match="8X in insurance_status"):
        accepting.revoke(made["id"] + 1, at)
    accepting.revoke(made["id"], at)
    with pytest.raises(WrongUse, match="In force: none"):
        accepting.revoke(made["id"], at)
