"""What a contract may say of a database; everything else is refused with its reason."""
from __future__ import annotations

import pytest

from pipelines.contract import ContractError, datasets
from tests.extraction import contract
from tests.support import RESIDENCE, project


def _read(tmp_path, text: str):
    return datasets(project(tmp_path, population__residence=text))[0]


def test_what_is_not_said_is_gentle(tmp_path):
    text = contract("oracle").replace("      - {property: rows_per_second, value: 10000000}\n", "")
    source = _read(tmp_path, text).sources[0]
    assert (source.database.rows_per_second, source.database.connections, source.database.on_cut, source.database.overlap) == (5_000, 1, "resume", 0)
    assert source.format == "parquet" and source.database.dialect == "oracle"


@pytest.mark.parametrize(("keys", "reason"), [
    ({"extract": "watermark"}, "updated_at belongs to extract: watermark, which needs it"), ({"updated_at": "gxsj"}, "updated_at belongs to extract: watermark"),
    ({"overlap": 5}, "overlap belongs to extract: watermark"), ({"extract": "watermark", "updated_at": "x", "overlap": -1}, "overlap must be 0 or more"),
    ({"extract": "everything"}, "extract is 'everything', must be one of"), ({"on_cut": "stop"}, "on_cut is 'stop', must be one of"),
    ({"range_rows": 0}, "range_rows must be above 0"), ({"rows_per_second": -1}, "rows_per_second must be above 0"), ({"connections": 0}, "connections must be above 0"),
    ({"connections": "two"}, "is 'two', must be int"), ({"connections": True}, "is True, must be int"),
    ({"window": "22-06"}, "window is '22-06', must be two different local times"), ({"window": "24:00-06:00"}, "must be two different local times"),
    ({"window": "06:00-06:00"}, "must be two different local times"), ({"schedule": "daily"}, "must be five fields of cron"), ({"schedule": "0 0 * *"}, "five fields of cron"),
    ({"schedule": "0 0 32 * *"}, "five fields of cron"), ({"schedule": "0 0 5-1 * *"}, "five fields of cron"), ({"schedule": "0 2 * * *"}, "must tick at midnight"),
    ({"table": "a.b.c"}, "table must be a table or schema.table"), ({"table": ""}, "lacks 'table'"), ({"widths": [3]}, "gives widths: keys of files"),
    ({"date_pattern": "(x)"}, "gives date_pattern: keys of files"), ({"password": "x"}, "names 'password', which no engine reads"),
])
def test_what_contradicts_itself_is_refused(tmp_path, keys, reason):
    with pytest.raises(ContractError, match=reason.replace("(", r"\(")):
        _read(tmp_path, contract("mysql", **keys))


@pytest.mark.parametrize(("old", "new", "reason"), [
    ("value: population_office", "value: 'mysql://u:p@h/d'", "connection must be a name"), ("    type: mysql\n", "    type: mongodb\n", "must be one of"),
    ("    type: mysql\n", "    type: mysql\n    format: csv\n    path: x\n", "gives format, path: keys of files"),
    ("    type: mysql\n", "    type: local\n", "keys of a database, whose type is one of"), ("{property: load, value: upsert}", "{property: load, value: snapshot}", "needs load: upsert"),
    ("      - {property: op, value: [操作]}\n", "", "needs load: upsert and a declared op")])
def test_what_contradicts_the_rest_of_the_contract_is_refused(tmp_path, old, new, reason):
    text = contract("mysql")
    assert old in text
    with pytest.raises(ContractError, match=reason):
        _read(tmp_path, text.replace(old, new))


def test_one_dataset_has_one_schedule(tmp_path):
    text = contract("mysql", schedule="0 0 * * *")
    server = text[text.index("  - server: office"):text.index("schema:")]
    second = server.replace("server: office", "server: other").replace("0 0 * * *", "0 0 1 * *")
    with pytest.raises(ContractError, match="give different schedules"):
        _read(tmp_path, text.replace(server, server + second))
    assert len(_read(tmp_path / "same", text.replace(server, server + second.replace("0 0 1 * *", "0 0 * * *"))).sources) == 2


def test_contracts_agree_on_a_database_they_share(tmp_path):
    from pipelines.check import check

    second = contract("mysql", connections=2).replace("population.residence", "population.second").replace("name: residence\n", "name: second\n")
    errors = check(project(tmp_path, population__residence=contract("mysql"), population__second=second))["errors"]
    assert errors == ["connection 'population_office' is declared differently: mysql with connections 1 by population.residence; mysql with connections 2 by population.second"]


def test_files_for_a_database_are_not_taken(tmp_path):
    """Nobody may put a file between the table and what is known of it."""
    from pathlib import Path

    from pipelines import steps
    from pipelines.settings import WrongUse
    from tests.support import HEADER, desk, write_csv

    at = desk(tmp_path, project(tmp_path / "project", population__residence=contract("mysql")))
    file = write_csv(at.lake.inbox / "population.residence" / "office" / "2026-11-01" / "a.csv", HEADER, [])
    found = steps.notice("population.residence", at)
    assert found["dates"] == [] and "from which only returned packs come as files" in found["left"][0][1]
    with pytest.raises(WrongUse, match="comes from a database. Run: python -m pipelines extract"):
        steps.submit("population.residence", [Path(file)], "office", "2026-11-01", at)


def test_files_are_not_extracted(tmp_path):
    from pipelines import steps
    from pipelines.settings import WrongUse
    from tests.support import desk

    at = desk(tmp_path, project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))
    with pytest.raises(WrongUse, match="all its sources send files"):
        steps.extract("population.residence", "2026-11-01", desk=at)
    with pytest.raises(WrongUse, match="this source sends files"):
        steps.extract("population.residence", "2026-11-01", "police", desk=at)
