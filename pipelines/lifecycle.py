"""The life of a 问题单 as a pure function: the state of a problem from what was measured and what officers did.

Results are taken in the order of the data (batch date, sequence, revision), never in that of their arrival, and an officer's act
stands after the newest result it saw: whatever comes late, early or twice, the same set of both gives the same state.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

OPEN, IN_PROGRESS, MENDED, VERIFIED, FALSE_ALARM, WAIVED = "open", "in_progress", "mended", "verified", "false_alarm", "waived"
STATES = {OPEN: "待整改", IN_PROGRESS: "整改中", MENDED: "已整改", VERIFIED: "已核验", FALSE_ALARM: "误报", WAIVED: "豁免"}
ACTIVE = (OPEN, IN_PROGRESS, MENDED)
LAKE = "lake"      # who changed it, where no officer did
Place = tuple[str, int, str, int]


@dataclass(frozen=True)
class Result:
    """One measurement of one rule. `stream`: what it is the newest state of; `waived`: rows that fail and are waived, beside `applicable`."""

    place: Place
    stream: tuple[str, str]
    outcome: str
    applicable: int = 0
    failed: int = 0
    waived: int = 0
    at_least: float = 0.0
    definition: str | None = None

    @cached_property
    def fails(self) -> bool:
        """Also where only a waiver lets it pass."""
        return self.outcome == "fail" or self.applicable - self.failed < Decimal(str(self.at_least)) * (self.applicable + self.waived)


@dataclass(frozen=True)
class Act:
    """What an officer did after seeing the result at `place`. `definition`: what the rule said then; several, where streams were judged under several."""

    place: Place
    state: str
    definition: str | None = None


@dataclass(frozen=True)
class Waiver:
    """What the fold needs of a waiver in force: for which stream (part '' = all), until which batch date, and whether it is for single keys."""

    source: str
    part: str
    expires_on: str
    keyed: bool

    def covers(self, one: Result) -> bool:
        """True when the waiver is why `one` is no failure; one for single keys shows only in what was judged under it."""
        fits = self.source == one.stream[0] and self.part in ("", one.stream[1]) and one.place[0] <= self.expires_on
        return fits and not (self.keyed and one.outcome == "fail")


@dataclass(frozen=True)
class Standing:
    """Where a problem stands. `opened`: the place of its first failing result; `shown`: the results its counts are of, newest last."""

    state: str
    reopened: int
    opened: Place
    shown: tuple[Result, ...]


def standing(results: Iterable[Result], acts: Sequence[Act] = (), waivers: Sequence[Waiver] = ()) -> Standing | None:
    """The state of a problem; None while nothing has failed.

    Args:
        results: every measurement of the rule for one department; what was not measured changes nothing.
        acts: in_progress, mended, false_alarm and open (re-opened) acts of officers, oldest first.
        waivers: those in force today.
    """
    told = sorted((r for r in results if r.outcome != "not_measured" or r.waived), key=lambda r: (r.place, r.stream))
    steps = sorted([(r.place, 0, i, r) for i, r in enumerate(told)] + [(a.place, 1, i, a) for i, a in enumerate(acts)], key=lambda s: s[:3])
    state, reopened, opened, newest, failing_now = None, 0, None, {}, set()
    for place, _, _, one in steps:
        if isinstance(one, Act):
            state = _acted(state, one.state)
            continue
        newest[one.stream] = one
        (failing_now.add if one.fails else failing_now.discard)(one.stream)
        if one.fails:
            opened, reopened = opened or place, reopened + (state in (MENDED, VERIFIED))
            state = OPEN if state in (None, MENDED, VERIFIED) else state
        elif state in ACTIVE and not failing_now:
            state = VERIFIED
    if state is None or opened is None:
        return None
    failing = [r for r in newest.values() if r.fails]
    shown = tuple(sorted(failing or newest.values(), key=lambda r: (r.place, r.stream)))
    return Standing(_overridden(state, failing, acts, waivers), reopened, opened, shown)


def _acted(state: str | None, act: str) -> str | None:
    """The state after an officer's act; what is verified needs no act, and a false alarm is judged at the end."""
    if state is None or state == VERIFIED or act == FALSE_ALARM:
        return state
    return act


def _overridden(state: str, failing: list[Result], acts: Sequence[Act], waivers: Sequence[Waiver]) -> str:
    """A false alarm stands while the rule says what it said; a waiver covers what it names."""
    last = next((a for a in reversed(acts) if a.state in (FALSE_ALARM, OPEN)), None)
    if last and last.state == FALSE_ALARM and {r.definition or "" for r in failing} <= set((last.definition or "").split(",")):
        return FALSE_ALARM
    if failing and all(any(w.covers(r) for w in waivers) for r in failing):
        return WAIVED
    return state
