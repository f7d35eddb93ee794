"""The documents say what the code does: tables are generated, commands are run, nothing names a machine."""
from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from pipelines.masks import MASKS
from pipelines.semantics import all_types
from tests.support import HEADER, REPOSITORY, resident_id, write_csv

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
CONTRACTS = (REPOSITORY / "docs/contracts.md").read_text(encoding="utf-8")


def types_table() -> list[str]:
    """The rows of the table of semantic types in docs/contracts.md."""
    rows = []
    for one in all_types():
        name = one.name + (f"({one.parameter})" if one.parameter else "")
        passes = next(f"`{sent}`" for sent, _ in one.must_pass)
        reasons = ", ".join(c.reason for c in one.checks) or "—"
        rows.append(f"| `{name}` | {one.physical} | {reasons} | {'yes' if one.repair_sql else '—'} | {passes} |")
    return rows


def test_the_table_of_semantic_types_is_what_the_registry_has():
    assert [line for line in CONTRACTS.splitlines() if line.startswith("| `") and line.count("|") == 6] == types_table()


def test_every_mask_is_explained():
    assert set(re.findall(r"^- `(\w+)`:", CONTRACTS, re.MULTILINE)) == set(MASKS)


def _commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("python -m pipelines ")]


def test_the_readme_has_its_commands():
    assert len(_commands()) >= 10
    assert "@@" not in README


@pytest.fixture(scope="module")
def readme_lake(run, tmp_path_factory):
    """A lake to type into: the sample's, and the file that the README receives."""
    folder = tmp_path_factory.mktemp("readme")
    write_csv(folder / "640100.csv", HEADER, [(resident_id(1), "赵一", "1990-01-01", "640104", "", "")])
    return run, folder


@pytest.mark.parametrize("command", _commands())
def test_every_command_of_the_readme_runs(readme_lake, command):
    run, folder = readme_lake
    environment = {"LAKE_HOME": str(run.desk.lake.home), "LAKE_PROJECT": str(REPOSITORY), "PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    wanted = 2 if " rollback" in command else 0
    assert done.returncode in (0, wanted), done.stdout + done.stderr
    assert done.stdout.strip() or done.stderr.strip()
