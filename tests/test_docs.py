"""The documents say what the code does: tables are generated, commands are run, nothing names a machine."""
from __future__ import annotations

import os
import re
import shlex
import subprocess

import pytest

from pipelines.masks import MASKS
from pipelines.semantics import all_types
from tests.chaos.warm import Warm
from tests.support import HEADER, REPOSITORY, forget_databases, resident_id, write_csv

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


def _commands(text: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith(("python -m pipelines ", "mv ", "cp ", "mkdir ", "printf "))]


COMMANDS = [(document.name, command) for document in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
            for command in _commands(document.read_text(encoding="utf-8"))]


def test_the_readme_has_its_commands():
    assert len(_commands(README)) >= 10
    assert "@@" not in README


@pytest.fixture(scope="module")
def typed_lake(run, tmp_path_factory):
    """A lake to type into: the sample's, a process that has everything imported, and the file that the documents receive."""
    folder = tmp_path_factory.mktemp("typed")
    write_csv(folder / "640100.csv", HEADER, [(resident_id(1), "赵一", "1990-01-01", "640104", "", "")])
    with Warm(LAKE_HOME=str(run.desk.lake.home), LAKE_PROJECT=str(REPOSITORY)) as warm:
        yield run, folder, warm


@pytest.mark.parametrize(("document", "command"), COMMANDS)
def test_every_command_of_the_documents_runs(typed_lake, document, command):
    """In the order of the documents. A comment `# exits 1` says that a command is meant to end with that code."""
    run, folder, warm = typed_lake
    typed = re.sub(r" ((?:640100|december)\.csv)\b", rf" {folder}/\1", re.sub("/mnt/(backup|desktop)", rf"{folder}/\1", command))
    (folder / "desktop").mkdir(exist_ok=True)
    if command.startswith("python -m pipelines "):
        code, said = warm.command(*shlex.split(typed, comments=True)[3:])
        assert said.strip()
    else:
        code, said = subprocess.call(["bash", "-c", typed], env=os.environ | {"LAKE_HOME": str(run.desk.lake.home)}), ""
        forget_databases()
    declared = re.search(r"# exits (\d)", command)
    wanted = (int(declared[1]),) if declared else (0, 2) if command.endswith("rollback") else (0,)
    assert code in wanted, said
