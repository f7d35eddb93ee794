"""A state that is a first part and deltas holds what the whole would hold, in whatever order batches come; and what died half-way is made again.

Batches are put into base by hand (`test_history.World`); the whole, derived in a lake of its own by the code that knows no deltas, is the answer.
"""
from __future__ import annotations

import random

import duckdb
import pytest

from pipelines import current, deltas, winners
from pipelines.segments import State
from pipelines.settings import Lake
from tests.pipelines.test_history import DATASET, World
from tests.support import resident_id

STREAMS = [(source, part) for source in ("police", "grid") for part in ("640100", "640200")]


@pytest.fixture
def eager(monkeypatch):
    """Every change is a delta, however small the dataset."""
    monkeypatch.setattr(current, "LARGE", 0)
    monkeypatch.setattr(deltas, "SHARE", 9)


def submissions(chance: random.Random, numbers: int) -> list[tuple[str, int, list[dict], list[int]]]:
    """Batches (name, revision, rows, rejected numbers) of two sources: overlapping keys, deletes, equal days, later corrections."""
    made = []
    for number in range(numbers):
        source, part = chance.choice(STREAMS)
        batch = f"{DATASET}~{source}~{part}~2026-0{chance.randint(1, 6)}-01~{number + 1}"
        for revision in (1, 2) if chance.random() < 0.3 else (1,):
            taken = chance.sample(range(1, 31), chance.randint(1, 12))
            rows = [{"id_number": resident_id(n), "name": chance.choice("赵钱孙"), "birth_date": chance.choice(["1990-01-01", "1991-01-01", None]),
                     "region_code": chance.choice(["640104", "640105", None]), "status": chance.choice(["甲", "乙", None]),
                     "_op": "D" if chance.random() < 0.2 else "U"} for n in taken]
            made.append((batch, revision, rows, [n for n in range(1, 31) if n not in taken and chance.random() < 0.15]))
    return made


class Arrivals:
    """A lake into which submissions come one by one."""

    def __init__(self, root, load: str = "upsert", on_reject: str = "keep"):
        self.world = World(root, load)
        object.__setattr__(self.world.plan.dataset, "on_reject", on_reject)
        self.apart = Lake.open(root / "apart")
        self.revisions: dict[str, int] = {}

    def take(self, batch: str, revision: int, rows: list[dict], rejected: list[int]) -> None:
        """The highest revision of a batch counts, in whatever order they come."""
        if revision > self.revisions.get(batch, 0):
            self.revisions[batch] = revision
            self.world.quarantine.pop(batch, None)
            self.world.segment(batch, rows, rejected, revision)

    def derived(self) -> current.Current:
        return self.world.derived()

    def whole(self) -> current.Current:
        return current.derive(self.apart, self.world.plan, State(None, self.world.segments), dict(self.world.quarantine), whole=True)


def content(state: current.Current):
    """Rows in the order of all their columns, overlaps, and what is told of both."""
    rows = duckdb.sql(f"SELECT * FROM {state.relation} ORDER BY ALL").fetchall()
    overlaps = duckdb.sql(f"FROM read_parquet('{state.overlaps}') ORDER BY ALL").fetchall()
    return rows, overlaps, {k: state.facts[k] for k in ("version", "rows", "stale_rows", "disagreements", "batches", "as_of")}


@pytest.mark.parametrize(("load", "on_reject", "seed"), [
    ("upsert", "keep", 1), pytest.param("upsert", "drop", 2, marks=pytest.mark.long), pytest.param("append", "keep", 3, marks=pytest.mark.long),
    *(pytest.param("upsert", "keep", seed, marks=pytest.mark.long) for seed in range(4, 12))])
def test_deltas_hold_what_the_whole_holds_in_every_order(tmp_path, eager, load, on_reject, seed):
    chance = random.Random(seed)
    sent, ends = submissions(chance, 6), []
    for turn in range(2):
        lake, longest = Arrivals(tmp_path / str(turn), load, on_reject), 0
        for submission in chance.sample(sent, len(sent)):
            lake.take(*submission)
            state = lake.derived()
            longest = max(longest, len(state.chain))
            assert content(state) == content(lake.whole())
        assert longest >= 4, "one part a batch"
        ends.append(duckdb.sql(f"SELECT * EXCLUDE (person_id, _key) FROM {state.relation} ORDER BY ALL").fetchall())      # which each lake makes with its own key
    assert ends[0] == ends[1]


def test_a_snapshot_and_a_changed_contract_are_derived_whole(tmp_path, eager):
    lake = Arrivals(tmp_path, "snapshot")
    for submission in submissions(random.Random(5), 3):
        lake.take(*submission)
        assert lake.derived().chain == [lake.derived().folder]
    other = Arrivals(tmp_path / "other")
    first, second, *_ = submissions(random.Random(6), 3)
    other.take(*first)
    other.derived()
    object.__setattr__(other.world.plan.dataset, "on_reject", "drop")
    other.take(*second)
    assert len(other.derived().chain) == 1


def test_folding_makes_one_part_and_the_next_delta_stands_on_it(tmp_path, eager):
    lake, sent = Arrivals(tmp_path), submissions(random.Random(8), 12)
    for submission in sent[:-2]:
        lake.take(*submission)
        state = lake.derived()
    assert current.heavy(state)
    folded = current.derive(lake.world.desk.lake, lake.world.plan, State(None, lake.world.segments), dict(lake.world.quarantine), whole=True)
    assert len(folded.chain) == 1 and content(folded) == content(state) and not current.heavy(folded)
    lake.take(*sent[-1])
    state = lake.derived()
    assert [folder.name for folder in state.chain] == [folded.folder.name, state.folder.name] and content(state) == content(lake.whole())
    current.sweep(lake.world.desk.lake, DATASET, [state])
    assert {p.name for p in state.folder.parent.iterdir()} == {p.name for p in state.chain}
    assert content(lake.derived()) == content(lake.whole())


@pytest.mark.parametrize("step", ["winners", "_fetch", "_put", "replace"])
def test_a_death_on_the_way_leaves_the_state_before_and_is_made_good(tmp_path, eager, monkeypatch, step):
    lake, sent = Arrivals(tmp_path), submissions(random.Random(9), 4)
    for submission in sent[:-1]:
        lake.take(*submission)
        before = lake.derived()
    rows = content(before)[0]
    lake.take(*sent[-1])
    place = {"winners": deltas.winners, "replace": current.durable}.get(step, deltas)

    def dies(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, step, dies)
        with pytest.raises(KeyboardInterrupt):
            lake.derived()
    assert content(before)[0] == rows, "nobody reads less than before"
    assert content(lake.derived()) == content(lake.whole())
    assert not list(before.folder.parent.glob("*.part*"))


def test_a_death_while_a_state_is_removed_leaves_none_that_is_taken_for_whole(tmp_path, eager, monkeypatch):
    lake, sent = Arrivals(tmp_path), submissions(random.Random(12), 4)
    for submission in sent:
        lake.take(*submission)
        state = lake.derived()

    def dies(folder):
        if folder == state.folder:
            state.rows.unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(current.durable.shutil, "rmtree", dies)
        with pytest.raises(KeyboardInterrupt):
            current.sweep(lake.world.desk.lake, DATASET, [])
    assert state.folder.exists()
    assert content(lake.derived()) == content(lake.whole())


def test_a_part_that_is_gone_is_not_built_upon(tmp_path, eager):
    lake, sent = Arrivals(tmp_path), submissions(random.Random(10), 5)
    for submission in sent[:-1]:
        lake.take(*submission)
        state = lake.derived()
    for file in state.chain[1].iterdir():
        file.unlink()
    lake.take(*sent[-1])
    assert content(lake.derived()) == content(lake.whole())


@pytest.mark.parametrize("load", ["upsert", "append", "snapshot"])
def test_small_files_kept_in_a_table_give_what_reading_them_gives(tmp_path, monkeypatch, load):
    sent, found = Arrivals(tmp_path / "sent", load), []
    for submission in submissions(random.Random(5), 20):
        sent.take(*submission)
    for name, many, small in (("read", 10**6, 10**6), ("kept", 1, 10**6), ("mixed", 1, 6)):
        monkeypatch.setattr(winners, "MANY", many)
        monkeypatch.setattr(winners, "SMALL", small)
        lake = Lake.open(tmp_path / name)
        found.append(content(current.derive(lake, sent.world.plan, State(None, sent.world.segments), dict(sent.world.quarantine), whole=True)))
    assert found[0][0], "rows are compared"
    assert found[1] == found[0] and found[2] == found[0]
