"""The chaos run: `python -m tests.chaos.run --kills 200 --seed 1 --out chaos.json`; exit code 1 when anything differed.

A lake whose processes are killed and its undisturbed twin take the same steps. Each operation runs on the twin, which
also measures it; on the other lake it is killed up to four times at instants drawn uniformly over that time, and after
every other death somebody else tidies; then it runs to its end, and the two lakes must have the same content.
"""
from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "ARROW_IO_THREADS": "1"}
SETTINGS = {"LAKE_SETTLE_SECONDS": "0", "LAKE_FOLD_DAYS": "6", "LAKE_PSEUDONYM_KEY": "5a" * 32}     # one key, so that pseudonyms of twins are equal

from pipelines import staging  # noqa: E402
from pipelines.settings import Project  # noqa: E402
from tests.chaos import attempts, content, operations, watchers, world  # noqa: E402

READERS, MOST_DEATHS = 2, 4
_MODULES = ("pipelines.rebuild", "pipelines.release", "pipelines.governance", "pipelines.closing", "pipelines.maintenance", "pipelines.verify", "pipelines.gate.docs", "pyarrow.parquet",
            "pyiceberg.io.pyarrow", "pyiceberg.catalog.sql", "duckdb_sqlalchemy", "great_expectations.datasource.fluent",
            "great_expectations.execution_engine.sqlalchemy_execution_engine", "pyiceberg.expressions.literals")


@dataclass
class Tally:
    """What came of the kills of one operation."""

    kills: int = 0
    before: int = 0      # the decisive instant had not come
    after: int = 0       # it had
    ended: int = 0       # the operation had ended by itself: no kill
    runs: int = 0
    seconds: float = 0.0


@dataclass
class Chaos:
    """Two lakes under `root`, fed the same."""

    root: Path
    seed: int
    only: tuple[str, ...] = ()      # the operations that are killed; none means all
    dice: random.Random = field(init=False)
    tallies: dict[str, Tally] = field(default_factory=lambda: {name: Tally() for name in operations.OPERATIONS})
    timeline: list[Any] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice, self.project = random.Random(self.seed), world.make(self.root / "project")
        self.lakes = {name: (self.root / name).resolve() for name in ("chaos", "twin")}
        os.environ["LAKE_PROJECT"] = str(self.project.root)

    @property
    def kills(self) -> int:
        return sum(t.kills for t in self.tallies.values())

    def at(self, lake: str, work: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        """`work(desk, *args)` as a child does it: with a desk of its own."""
        def do() -> Any:
            os.environ["LAKE_HOME"] = str(self.lakes[lake])
            return work(world.desk(self.project, self.lakes[lake]), *args)
        return do

    def ask(self, lake: str, work: Callable[..., Any], *args: Any) -> Any:
        """What a look at a lake tells, by a child of its own."""
        return attempts.run(self.at(lake, work, *args), self.root / "answer.json")[0]

    def round(self, number: int, most: int) -> None:
        """Feed one generation and take it through all operations, killing at most `most` times in all."""
        correct = number > 0 and self.dice.random() < 0.4
        for home in self.lakes.values():
            world.drop(home, number, self.seed, correct)
        for name in operations.plan(self.dice, number):
            self.operation(name, number > 0 and (not self.only or name in self.only), most)

    def operation(self, name: str, deadly: bool, most: int) -> None:
        """One operation on both lakes; returns when they are equal.

        Raises:
            attempts.Failed: it ended with an error, or the lakes differ.
        """
        operation, tally = operations.OPERATIONS[name], self.tallies[name]
        target = self.ask("twin", _target)
        work = {lake: self.at(lake, _quietly, operation.run, target) for lake in self.lakes}
        answer = self.root / "answer.json"
        _, seconds = attempts.run(work["twin"], answer)
        if deadly:
            tally.runs, tally.seconds = tally.runs + 1, tally.seconds + seconds
            before = self.ask("chaos", _probe, operation.decided)
            for _ in range(self.dice.randint(1, MOST_DEATHS)):
                if self.kills >= most:
                    break
                instant = self.dice.uniform(0, 1.05 * seconds)
                if attempts.kill(work["chaos"], answer, instant):
                    after = self.ask("chaos", _probe, operation.decided)
                    tally.kills, tally.before, tally.after = tally.kills + 1, tally.before + (after == before), tally.after + (after != before)
                    if self.dice.random() < 0.5:
                        attempts.run(self.at("chaos", operations.tidy), answer)
                else:
                    tally.ended += 1
        attempts.run(work["chaos"], answer)
        found = {lake: self.ask(lake, content.of, operation.publishes) for lake in self.lakes}
        wrong = content.differences(found["twin"], found["chaos"])
        wrong += [f"{k}: {v}" for k, v in found["chaos"].items() if v and k.split()[0] in ("leftovers", "orphans", "findings")]
        if wrong:
            raise attempts.Failed(f"after {name}: " + "\n".join(wrong))
        if "published" in found["twin"]:
            shown = [self.ask("twin", _shown), [found["twin"]["published"][d] for d in world.DATASETS]]
            self.timeline += [shown] if self.timeline[-1:] != [shown] else []


def _target(desk: Any) -> Any:
    return operations.target(desk) if desk.lake.database.exists() else None


def _shown(desk: Any) -> Any:
    return operations.publication.shown_release(desk.ledger)


def _probe(desk: Any, decided: operations.Probe) -> str:
    return repr(decided(desk))


def _quietly(desk: Any, run: Callable[..., Any], target: int | None) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    run(desk, target)


def preload(project: Project) -> None:
    """Load what children would load, and prove the rules once; no connection stays open."""
    from pipelines.gate import suite

    suite.great_expectations()
    for name in _MODULES:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="chaos-") as home:
        made = world.desk(project, Path(home) / "lake")
        for dataset in world.DATASETS:
            with staging.engine(made.lake, project, made.plan(dataset)):
                pass


def judge_readers(files: list[Path], timeline: list[Any]) -> dict[str, Any]:
    """What the readers saw, held against the releases as the twin made them, in their order."""
    told: dict[str, Any] = {"passes": 0, "held_across_a_release": 0, "errors": []}
    seen_releases = set()
    for file in files:
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        if not lines or "passes" not in lines[-1]:
            told["errors"].append("a reader ended without its figures")
            continue
        *changes, end = lines
        told["passes"] += end["passes"]
        told["held_across_a_release"] += end["held"]
        told["errors"] += end["errors"]
        place = 0
        for change in changes:
            later = next((i for i in range(place, len(timeline)) if timeline[i] == change["seen"]), None)
            if later is None:
                told["errors"].append(f"{change['seen']} is no release, or out of order")
                break
            place = later
            seen_releases.add(change["seen"][0])
    return told | {"releases_seen": len(seen_releases)}


def run(kills: int, seed: int, root: Path, only: tuple[str, ...] = (), say: Callable[[str], None] = print) -> dict[str, Any]:
    """Kill `kills` times; returns the figures."""
    os.environ |= SETTINGS
    began, chaos, stop = time.monotonic(), Chaos(root, seed, only), root / "stop"
    preload(chaos.project)
    readers, files, number = [], [root / f"reader{n}.jsonl" for n in range(READERS)], 0
    try:
        while chaos.kills < kills:
            chaos.round(number, kills)
            if not readers:
                readers = [attempts.start(partial(watchers.watch, chaos.lakes["chaos"], file, stop, seed + n), root / f"reader{n}.json")
                           for n, file in enumerate(files)]
            number += 1
            say(f"round {number}: {chaos.kills} kills, {time.monotonic() - began:.0f} s")
    except attempts.Failed as failed:
        chaos.faults.append(f"round {number}, after {chaos.kills} kills: {failed}")
    stop.touch()
    for reader in readers:
        os.waitpid(reader, 0)
    told = judge_readers(files, chaos.timeline) if readers else {"passes": 0, "errors": []}
    total = Counter({k: sum(getattr(t, k) for t in chaos.tallies.values()) for k in ("kills", "before", "after", "ended")})
    return {"seed": seed, "rounds": number, **total, "seconds": round(time.monotonic() - began), "releases": len({r for r, _ in chaos.timeline}),
            "operations": {n: vars(t) | {"seconds": round(t.seconds / max(1, t.runs), 2)} for n, t in chaos.tallies.items()},
            "readers": told, "faults": chaos.faults}


def main() -> int:
    """Run, print the figures and write them down."""
    parser = argparse.ArgumentParser(description="Kill the lake's processes at random instants.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    parser.add_argument("--only", nargs="*", default=[], choices=list(operations.OPERATIONS), help="the operations that are killed (default: all)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
    with tempfile.TemporaryDirectory(prefix="chaos-") as root:
        figures = run(options.kills, options.seed, Path(root), tuple(options.only))
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1, ensure_ascii=False))
    return 1 if figures["faults"] or figures["readers"]["errors"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
