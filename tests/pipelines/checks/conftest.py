"""A connection with the macros of the checks, and lakes of the small thirteenth dataset."""
from __future__ import annotations

import pytest

from pipelines import steps
from pipelines.checks.candidate import SIGNALS, STATISTICS
from pipelines.sql import connect
from tests.support import HEADER, RESIDENCE, desk, open_gate, resident_id, small_project, write_csv

DATASET = "population.residence"


@pytest.fixture
def con():
    with connect() as made:
        for macros in (STATISTICS, SIGNALS):
            made.execute(macros.read_text("utf-8"))
        yield made


@pytest.fixture
def lake(tmp_path, monkeypatch):
    """Makes a lake of `population.residence`; `load` and the text of its expectations file may be given."""
    open_gate(monkeypatch)

    def make(load: str = "snapshot", rules: str = "", where: str = "lake", contract: str = RESIDENCE):
        made = small_project(tmp_path / where / "project", population__residence=contract.replace("LOAD", load))
        if rules:
            file = made.expectations / "population" / "residence.yaml"
            file.parent.mkdir()
            file.write_text(rules, encoding="utf-8")
        return desk(tmp_path / where, made)

    return make


def person(number: int, status: str = "有效", region: str = "640104", birth: str = "19900101", name: str = "赵一") -> tuple:
    """A row of the residence file; `number` 1–999 within one birth date."""
    return (resident_id(number, "640104", birth), name, f"{birth[:4]}-{birth[4:6]}-{birth[6:]}", region, status, "")


def send(at, folder, date: str, rows: list[tuple], part: str = "640100", source: str = "police", **options) -> list[str]:
    """Submit rows and take them through to base; returns the keys of the accepted batches."""
    file = write_csv(folder / f"{part}-{source}-{date}-{abs(hash(str(rows)))}.csv", HEADER, rows)
    steps.submit(DATASET, [file], source, date, desk=at, part=part, **options)
    accepted = steps.judge(DATASET, steps.stage(DATASET, steps.receive(DATASET, desk=at), at), at)
    steps.commit(DATASET, accepted, at)
    return accepted
