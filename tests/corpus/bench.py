"""Cases in, outcomes out: a lake with one staging engine, and what came of the files that were staged in it."""
from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines import base, landing, readers, staged_batches, staging
from pipelines.settings import WrongUse
from tests.corpus.model import Case
from tests.support import RESIDENCE, desk, project

DATASET = "population.residence"


@dataclass
class Outcome:
    """What came of a case."""

    outcome: str
    code: str | None = None
    message: str = ""
    good: list[tuple[str, ...]] | None = None
    bad: list[tuple[int, tuple[str, ...]]] | None = None
    counts: dict[str, Any] | None = None


class Bench:
    """A lake, and one staging engine for all cases."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.root = root
        self.desk = desk(root, project(root / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))
        self.plan = self.desk.plan(DATASET)
        self.ids = base.field_ids(self.desk.lake, self.plan)
        self.con = stack.enter_context(staging.engine(self.desk.lake, self.desk.project, self.plan))
        self.con.execute("SET threads = 1")      # the tables are tiny and two engines run
        self.source = replace(self.plan.dataset.source("police"), part_pattern=None, format="auto", encoding="auto")

    def stage(self, case: Case) -> Outcome:
        """Receive and stage a case; anything but a refusal is an error."""
        source = replace(self.source, **case.source)
        part = re.sub(r"\W", "-", case.id)
        try:
            [got] = landing.receive(self.desk.lake, self.plan.dataset, source, write(self.root / "out" / part, case), "2026-11-01", part)
            manifest = landing.read_manifest(got.folder)
            if case.tamper:
                tamper(got.folder / manifest.files[0].stored)
            found = staging.stage(self.con, self.desk.lake, self.plan, source, manifest, self.ids)
        except (readers.ReadRefused, WrongUse) as error:
            return Outcome("refused", getattr(error, "code", None), str(error))
        return self._result(found)

    def _result(self, found: staged_batches.Staged) -> Outcome:
        good = self.con.execute("SELECT id_number, name, coalesce(birth_date::VARCHAR, ''), region_code, coalesce(status, ''), _op "
                                "FROM read_parquet($1) ORDER BY _file, _ordinal", [str(found.folder / "accepted/*.parquet")]).fetchall()
        bad = self.con.execute("SELECT _ordinal, rules FROM read_parquet($1) ORDER BY _file, _ordinal",
                               [str(found.folder / "quarantine.parquet")]).fetchall()
        return Outcome("quarantined" if bad else "loaded", good=good, bad=[(o, tuple(r)) for o, r in bad], counts=found.counts)


def write(folder: Path, case: Case) -> list[Path]:
    """The case's files on disk."""
    folder.mkdir(parents=True)
    files = {folder / name: content for name, content in case.build().items()}
    for path, content in files.items():
        path.write_bytes(content)
    return list(files)


def tamper(stored: Path) -> None:
    """Change a byte of a file in landing."""
    stored.chmod(0o600)
    content = stored.read_bytes()
    stored.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
