"""Which files of one folder of the inbox may be taken together now, and why the others may not.

Files of one part of one batch date are one delivery: it is taken whole or left whole, so that no batch is made of half a
submission. What is left is told as troubles: they name files by number, by name order, and folders not at all.
"""
from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from pipelines.batch import WORD, batch_date as resolve_date
from pipelines.contract import Dataset, Source
from pipelines.copying import Identity, NotTaken, Stated, opened_file
from pipelines.folders import DONE, Folder, Seen
from pipelines.settings import WrongUse
from pipelines.sidecars import CHECKSUM, FOLDER, MANIFEST, BadSidecar, Statement, checksum, manifest

CODES = {
    "unsettled": "it is taken {seconds:g} s after its last change, or at once with a mark or with a manifest that agrees",
    "sha256": "it is not what is stated beside it (size or SHA-256). It may be in transfer still; if not, send it again",
    "secrecy": "its 密级 is stated as something else than 公开 or 内部. It must not enter the lake: remove it",
    "manifest": "what is stated beside it cannot be used. Correct that",
    "batch_date": "its batch date cannot be told, or is told in two ways. Use a folder named 2026-11-01, date_pattern or a manifest",
    "part": "its name does not tell the part (part_pattern). Rename it, or state the part in a manifest",
    "correction": "it is a correction, and no submission of its date and part was received. Drop it into the folder of the date",
    "ticket": "it is a returned pack, and nothing of it was taken. Correct these rows and drop it again; for the pack as it was given out: "
              "python -m pipelines feedback BATCH",
    "link": "it is no regular file, or a folder or link where none belongs. Put the file itself there",
    "unreadable": "the pipeline's account cannot read or remove it. Change its rights",
    "source": "it lies under no source of the contract. Move it",
    "refused": "landing does not take it",
}
CORRECTIONS = ("更正", "correction")
_LISTED = 10


@dataclass(frozen=True)
class Trouble:
    """Why something in one place (source, batch date; '' where unknown) is left there."""

    source: str
    batch_date: str
    code: str
    files: int
    message: str
    seen: tuple[Identity, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Delivery:
    """Files that may be taken as one submission, and the folder's manifest where it names one of them."""

    source: str
    batch_date: str
    part: str
    correct: bool
    folder: Path
    files: tuple[tuple[Seen, Stated], ...]
    manifest: bytes | None = field(default=None, repr=False)
    named: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def stated(self) -> dict[Path, Stated]:
        """What is known of each file."""
        return {self.folder / seen.name: stated for seen, stated in self.files}


@dataclass(frozen=True)
class Place:
    """One folder a source may drop files into. `day`: the batch date its name gives; '' directly in the source's folder."""

    dataset: Dataset
    source: Source
    path: Path
    day: str
    correct: bool = False

    def below(self, name: str) -> Place | None:
        """The place that the folder `name` in this one is; None when none belongs here."""
        if not self.day:
            day = day_in(name)
            return Place(self.dataset, self.source, self.path / name, day) if day else None
        known = name.lower() in CORRECTIONS and not self.correct
        return Place(self.dataset, self.source, self.path / name, self.day, True) if known else None

    def trouble(self, code: str, files: int, what: str, seen: Iterable[Identity] = (), day: str | None = None) -> Trouble:
        """A trouble of this place in words."""
        return trouble(self.dataset.id, self.source.source, self.day if day is None else day, code, files, what, seen)


def trouble(dataset_id: str, source: str, day: str, code: str, files: int, what: str, seen: Iterable[Identity] = ()) -> Trouble:
    """A trouble in words: where, what, why, and what to do."""
    where = dataset_id + (f" from {source}" if source else "") + (f" for {day}" if day else "")
    return Trouble(source, day, code, files, f"not taken: {where}, {what}: {CODES[code].format(seconds=settle_seconds())} [{code}]", tuple(seen))


def settle_seconds() -> float:
    """LAKE_SETTLE_SECONDS: for how long a file without mark or manifest must not have changed."""
    return _seconds("LAKE_SETTLE_SECONDS", "60")


def poll_seconds() -> float:
    """LAKE_POLL_SECONDS: how often the trigger looks into the inbox; a look at three folders takes half a millisecond."""
    return _seconds("LAKE_POLL_SECONDS", "1")


def _seconds(variable: str, default: str) -> float:
    text = os.environ.get(variable, default)
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise WrongUse(f"{variable} is {text!r}; give a number of seconds.")
    return float(text)


def day_in(text: str) -> str | None:
    """The ISO date that `text`, YYYY-MM-DD or YYYYMMDD, is; None when it is neither."""
    try:
        return resolve_date(text) if re.fullmatch(r"\d{4}-\d\d-\d\d|\d{8}", text) else None
    except WrongUse:
        return None


def sort_out(folder: Folder, place: Place) -> tuple[list[Delivery], list[Trouble]]:
    """The deliveries and the troubles of one folder."""
    statements, content, problem = _folder_manifest(folder)
    candidates = [_judged(folder, place, number, seen, statements.get(seen.name, Statement()), problem)
                  for number, seen in enumerate(folder.files, 1)]
    here = {seen.name for seen in folder.files}
    candidates += [_placed(_Candidate(0, None, name, problem=("unsettled", "a file that the manifest names has not come")), place, stated)
                   for name, stated in statements.items() if name not in here]
    groups: dict[tuple, list[_Candidate]] = {}
    for one in candidates:
        groups.setdefault((one.day, one.part, one.correct), []).append(one)
    deliveries, troubles = [], []
    for (day, part, correct), group in groups.items():
        files = tuple((c.seen, c.stated) for c in group if c.seen)
        if files and any(c.problem for c in group):
            troubles += _told(place, day, group, len(folder.files))
        elif files:
            named = any(c.name in statements for c in group)
            deliveries.append(Delivery(place.source.source, day, part, correct, place.path, files, content if named else None,
                                       frozenset(statements) if named else frozenset()))
    return deliveries, troubles


@dataclass(frozen=True)
class _Candidate:
    """A file of data; or one that a manifest names and that is not there: number 0, not seen."""

    number: int
    seen: Seen | None
    name: str = field(repr=False)
    stated: Stated = Stated()
    day: str = ""
    part: str = ""
    correct: bool = False
    problem: tuple[str, str] | None = None      # code, reason


def _folder_manifest(folder: Folder) -> tuple[dict[str, Statement], bytes | None, tuple[str, str] | None]:
    """What the folder's own manifest states, its bytes, and why it cannot be used."""
    mark = folder.mark(FOLDER)
    if mark is None:
        return {}, None, None
    try:
        content = folder.read(mark)
        return manifest(content), content, None
    except BadSidecar as error:
        return {}, None, _broken(mark, error)


def _broken(mark: Seen, error: BadSidecar) -> tuple[str, str]:
    """A statement that was written just now may be half of itself."""
    return ("manifest", str(error)) if _quiet(mark) else ("unsettled", "the statement beside it is being written")


def _judged(folder: Folder, place: Place, number: int, seen: Seen, statement: Statement, problem: tuple[str, str] | None) -> _Candidate:
    """One file with all that is stated about it, and what keeps it from being taken."""
    kept = []
    for suffix, read in ((MANIFEST, lambda content: manifest(content, own=seen.name)[seen.name]), (CHECKSUM, checksum)):
        mark = folder.mark(seen.name, suffix)
        if mark is None or problem:
            continue
        try:
            content = folder.read(mark)
            statement = statement.and_also(read(content))
            kept.append((suffix, content))
        except BadSidecar as error:
            problem = _broken(mark, error)
    stated = Stated(seen.identity, statement.rows, statement.bytes, statement.sha256, tuple(kept))
    if problem is None and statement.secret:
        problem = ("secrecy", "")
    problem = problem or _unsettled(folder, place, seen, stated)
    return _placed(_Candidate(number, seen, seen.name, stated, problem=problem), place, statement)


def _unsettled(folder: Folder, place: Place, seen: Seen, stated: Stated) -> tuple[str, str] | None:
    """Why a file may be half-written. A mark speaks for what was there before it."""
    marks = [folder.mark(seen.name, DONE)] + ([folder.mark(DONE)] if place.day else [])
    if any(mark and seen.since <= mark.placed for mark in marks):
        return None
    if stated.bytes is not None and stated.bytes != seen.identity.size:
        return ("sha256", "") if _quiet(seen) else ("unsettled", "its size is not the one stated yet")
    if _quiet(seen) or stated.bytes is not None:
        return None
    if stated.sha256 is not None:
        return None if _digest(place.path / seen.name, seen.identity) == stated.sha256 else ("unsettled", "its SHA-256 is not the one stated yet")
    return ("unsettled", "it changed just now")


def _quiet(seen: Seen) -> bool:
    return time.time() - seen.since >= settle_seconds()


@lru_cache(maxsize=1024)
def _digest(path: Path, identity: Identity) -> str | None:
    """The SHA-256 of a file that is `identity`; None when it cannot be read."""
    try:
        with os.fdopen(opened_file(path, ""), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() if Identity.of(os.fstat(file.fileno())) == identity else None
    except (NotTaken, OSError):
        return None


def _placed(one: _Candidate, place: Place, statement: Statement) -> _Candidate:
    """`one` with its batch date, part and correction; problems with these come after those it has."""
    pattern, source, problem = place.source.part_pattern, place.source, one.problem
    dated = re.search(source.date_pattern, one.name) if source.date_pattern and not place.day else None
    correct = place.correct or bool(statement.correct)
    told = {day for day in (place.day or None, statement.batch_date, dated and (day_in(dated[1] or "") or "")) if day is not None}
    day = next(iter(told)) if len(told) == 1 else ""
    if not day:
        problem = problem or ("batch_date", "")
    found = re.search(pattern, one.name) if pattern and statement.part is None else None
    part = statement.part or (found[found.re.groups and 1] or "" if found else "" if pattern else "all")
    if not WORD.fullmatch(part) or part.startswith(".") or len(part) > 64:
        part, problem = "", problem or (None if correct else ("part", ""))      # the tickets of a returned pack tell its part
    if source.database and not correct:
        problem = problem or ("source", "its source is a database, from which only returned packs come as files")
    return replace(one, day=day, part=part, correct=correct, problem=problem)


def _told(place: Place, day: str, group: list[_Candidate], of: int) -> Iterator[Trouble]:
    """The troubles of one delivery that must be left, one per code."""
    waiting = sum(c.problem is None for c in group)
    seen = [c.seen.identity for c in group if c.seen]
    for code in dict.fromkeys(c.problem[0] for c in group if c.problem):
        mine = [c for c in group if c.problem and c.problem[0] == code]
        reasons = "; ".join(dict.fromkeys(c.problem[1] for c in mine if c.problem[1]))
        with_it = f", and {waiting} others of the same batch wait with it" if waiting else ""
        yield place.trouble(code, len(mine), f"{_numbers([c.number for c in mine if c.number], of)}{f' ({reasons})' if reasons else ''}{with_it}",
                            seen, day or place.day)


def _numbers(numbers: list[int], of: int) -> str:
    if not numbers:
        return "files that have not come"
    more = f" and {len(numbers) - _LISTED} more" if len(numbers) > _LISTED else ""
    return f"file {', '.join(map(str, numbers[:_LISTED]))}{more} of {of} by name order"
