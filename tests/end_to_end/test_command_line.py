"""The command line as a person uses it: exit codes, JSON, messages that say what to do, two people at once."""
from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from pipelines.cli import main
from tests.support import HEADER, REPOSITORY, RESIDENCE, desk, project, resident_id, write_csv

DATASET = "population.residence"
GOOD = [(resident_id(n), "赵一", "1990-01-01", "640104", "有效", "") for n in range(1, 11)]
BAD = [(f"64010419900101{n:04d}", "赵一", "1990-01-01", "640104", "有效", "") for n in range(1, 11)]


@pytest.fixture
def at(tmp_path, monkeypatch):
    made = desk(tmp_path, project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))
    monkeypatch.setenv("LAKE_HOME", str(made.lake.home))
    monkeypatch.setenv("LAKE_PROJECT", str(made.project.root))
    return made


def _receive(tmp_path, rows, *more: str) -> int:
    file = write_csv(tmp_path / f"out/{len(more)}{rows[0][0]}/640100.csv", HEADER, rows)
    return main(["receive", DATASET, str(file), "--source", "公安局", "--batch-date", "2026-11-01", *more])


def test_held_corrected_released_and_asked_about(at, tmp_path, capsys):
    assert _receive(tmp_path, BAD) == 0
    assert main(["ingest", DATASET]) == 1
    said = capsys.readouterr().out
    assert "id_number.checksum" in said and "10 of 10 rows" in said
    assert not any(row[0] in said for row in BAD)
    batch = f"{DATASET}~police~640100~2026-11-01~1"
    assert main(["why", batch, "--json"]) == 0
    story = json.loads(capsys.readouterr().out)
    assert story["batch"]["state"] == "held" and story["failing"][0]["rule"].startswith("id_number.")
    assert main(["ingest", DATASET]) == 0
    assert "nothing new" in capsys.readouterr().out
    assert _receive(tmp_path, GOOD, "--correct") == 0
    assert main(["ingest", DATASET, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["accepted"] == [f"{batch}~r2"]
    assert main(["release"]) == 0 and main(["release"]) == 0
    assert "Nothing changed" in capsys.readouterr().out
    assert main(["query", "SELECT count(*) AS persons FROM population.residence", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"columns": ["persons"], "rows": [[10]]}
    assert main(["status"]) == 0
    assert "population.residence" in capsys.readouterr().out


@pytest.mark.parametrize(("command", "says"), [
    (["ingest", "population.nobody"], "Contracts exist for: population.residence"),
    (["receive", DATASET, "/nonexistent", "--source", "nobody", "--batch-date", "2026-11-01"], "police (公安局)"),
    (["why", "nosuch"], "knows no batch"), (["query", "SELECT 1"], "Nothing is published yet"), (["rollback", "7"], "Kept releases"),
    (["rebuild", DATASET], "no accepted batch"),
])
def test_wrong_use_is_answered_with_what_there_is(at, capsys, command, says):
    assert main(command) == 2
    assert says in capsys.readouterr().err


def test_a_wrong_contract_is_wrong_use_with_every_error(at, capsys):
    path = at.project.contracts / "population/residence.yaml"
    path.write_text(path.read_text().replace("semanticType: text", "semanticTyp: text").replace("LOAD", "x"))
    assert main(["check"]) == 2
    assert "Nearest: 'semanticType'" in capsys.readouterr().out
    assert main(["ingest", DATASET]) == 2


def test_check_makes_no_lake(tmp_path, monkeypatch):
    monkeypatch.setenv("LAKE_HOME", str(tmp_path / "lake"))
    assert main(["check"]) == 0
    assert not (tmp_path / "lake").exists()


def test_two_people_who_ingest_at_once_end_in_one_accepted_batch(at, tmp_path):
    _receive(tmp_path, GOOD)
    command = [sys.executable, "-m", "pipelines", "ingest", DATASET]
    both = [subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    said = [one.communicate(timeout=120)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    row = at.ledger.batch(f"{DATASET}~police~640100~2026-11-01~1")
    assert (row["state"], row["accepted"]) == ("accepted", 10)
    assert [p.name for p in at.lake.staging.iterdir() if not p.name.startswith(".")] == []
