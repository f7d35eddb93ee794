"""How the site's pages are made: templates, how numbers are shown, and writing a page only when it differs from the one that is there."""
from __future__ import annotations

import csv
import hashlib
import math
import os
import shutil
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pipelines.languages import two_languages
from pipelines.settings import Project, account_cache
from pipelines.site import marks
from pipelines.version import code_version

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
ASSETS = Path(__file__).with_name("assets")
BUILT = Path(sys.prefix) / "assets"     # what `python -m pipelines.site.assets` built at installation
CHARTS = "echarts.js"
BEIJING = timezone(timedelta(hours=8))
DOMAINS = {"population": ("人口基础库", "Population"), "legal_entity": ("法人基础库", "Legal entities"), "credit": ("信用基础库", "Credit")}


def rate(value: float | None, digits: int = 2) -> str:
    """A share in percent, rounded down: 99.996 % is never shown as 100 %."""
    if value is None:
        return "—"
    shown = math.floor(value * 10 ** (digits + 2) + 1e-9) / 10 ** digits
    return f"{shown:.{digits}f} %" if value < 1 else "100 %"


def change(now: float | None, before: float | None) -> str:
    """Month on month 环比, in percentage points, with its sign."""
    if now is None or before is None:
        return "—"
    points = round((now - before) * 100, 2)
    return f"{'▲' if points > 0 else '▼' if points < 0 else '＝'} {abs(points):.2f}"


def _time(value: str | None) -> str:
    """A ledger time (UTC) as Beijing time."""
    if not value:
        return "—"
    return datetime.fromisoformat(value).astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S")


def number(value: Any) -> str:
    return "—" if value is None else f"{value:,}"


def _size(value: int | None) -> str:
    if value is None:
        return "—"
    return next((f"{value / 1024 ** n:,.1f} {unit}" for n, unit in ((3, "GB"), (2, "MB"), (1, "kB")) if value >= 1024 ** n),
                f"{value:,} B")


@lru_cache(maxsize=1)
def divisions() -> dict[str, str]:
    with (Project.open().reference / "admin_divisions.csv").open(encoding="utf-8") as file:
        return {row["code"]: row["full_name"] for row in csv.DictReader(file)}


@lru_cache(maxsize=1)
def _templates() -> jinja2.Environment:
    made = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, auto_reload=False, bytecode_cache=_Compiled(),
                              undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {"number": number, "size": _size, "rate": rate, "time": _time, "relative": marks.relative, "spark": spark, "cells": marks.cells, "two": two_languages}
    made.filters |= {one.__name__: one for one in (marks.t, marks.h2)}      # as filters of constants they are said once, when a template is compiled
    made.globals |= {"indicators": marks.indicators(), "SEVERITIES": marks.SEVERITIES, "OUTCOMES": marks.OUTCOMES}
    made.globals |= {one.__name__: one for one in (marks.t, marks.h2, marks.lamp, marks.outcome, marks.severity, marks.dimension, marks.indicator, marks.trend)}
    return made


class _Compiled(jinja2.BytecodeCache):
    """Compiled templates of this program, kept for the account: compiling them takes a second and more. Jinja compares the digest of each template's
    text; a file that is not whole, or cannot be kept, is none."""

    def __init__(self) -> None:
        self.folder = account_cache() / "templates" / f"{jinja2.__version__}-{code_version()}"
        with suppress(OSError):
            if not self.folder.is_dir():
                shutil.rmtree(self.folder.parent, ignore_errors=True)      # those of another program
                self.folder.mkdir(parents=True, mode=0o700)

    def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        with suppress(OSError):
            digest, content = (found := (self.folder / bucket.key).read_bytes())[:32], found[32:]
            if hashlib.sha256(content).digest() == digest:
                bucket.bytecode_from_string(content)

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        content = bucket.bytecode_to_string()
        with suppress(OSError):
            put(self.folder / bucket.key, hashlib.sha256(content).digest() + content)


def compile_templates() -> None:
    """Compile every template now, for processes that are forked from this one; it takes nearly two seconds."""
    for template in _templates().list_templates(extensions=["j2"]):
        _templates().get_template(template)


def spark(values: list[float | None], width: int = 96, height: int = 22) -> Markup:
    """A trend as a small drawing, one point per month; a month without a value is a gap. Its numbers stand in a table elsewhere."""
    known = [v for v in values if v is not None]
    if not known:
        return Markup("")
    low, high = min(known), max(known)
    span = max(high - low, 0.005)
    step = (width - 6) / max(len(values) - 1, 1)
    parts = [f"{'L' if i and values[i - 1] is not None else 'M'}{3 + i * step:.0f} {3 + (height - 6) * (high - v) / span:.0f}"
             for i, v in enumerate(values) if v is not None]
    x, y = parts[-1][1:].split()
    drawing = f'<path d="{"".join(parts)}"/><circle cx="{x}" cy="{y}" r="2.2"/>'
    return Markup(f'<svg class="spark" width="{width}" height="{height}" aria-hidden="true">{drawing}</svg>')


def write(reports: Path, path: Path, template: str, **content: Any) -> Path:
    """Write one page of the site as `render` makes it, unless it is there already, byte for byte."""
    page = render(reports, path, template, **content)
    return path if page is None else put(path, page)


def write_all(pages: Iterable[tuple[Path, bytes | None]]) -> None:
    """`put` many pages as `render` makes them, each while the next one is rendered: to make a file takes the disk as long."""
    with ThreadPoolExecutor(1) as disk:
        list(disk.map(lambda one: put(*one), (one for one in pages if one[1] is not None)))


def render(reports: Path, path: Path, template: str, stamped: bool = False, shared: dict[str, Any] | None = None, of_shared: str = "", **content: Any) -> bytes | None:
    """One page of the site; None where its stamp says that it is there already.

    Args:
        reports: the site's root; links of the page start with `root`.
        stamped: the page carries a digest of its content and templates, and is not even made again while they stay the same (rules: a thousand pages).
        shared: content of many pages alike, and `of_shared` its digest.
    """
    stamp = digest_of(of_shared, content) if stamped else None
    if stamp and f'content="{stamp}"' in head(path):
        return None
    depth = len(path.relative_to(reports).parts) - 1
    page = _templates().get_template(template).render(root="../" * depth, stamp=stamp, charts=(reports / "assets" / CHARTS).is_file(), **(shared or {}), **content)
    return page.encode("utf-8", errors="replace")


def digest_of(*content: Any) -> str:
    """A digest of what pages are made of, templates and program included: while it stays, they are what would be made now."""
    return hashlib.sha256(f"{version()}{content!r}".encode()).hexdigest()[:16]


def head(page: Path) -> str:
    """The beginning of a page, where its digest stands; nothing where there is no page."""
    try:
        with page.open("rb") as file:
            return file.read(600).decode(errors="replace")
    except FileNotFoundError:
        return ""


@lru_cache(maxsize=1)
def version() -> str:
    """A digest of all templates, and of the program."""
    charts = (BUILT / CHARTS).is_file()
    return hashlib.sha256(b"".join(p.read_bytes() for p in sorted(TEMPLATES.iterdir()))).hexdigest() + code_version() + str(charts)


def put(path: Path, content: bytes) -> Path:
    """Put a file in its place by rename, unless it is there already, byte for byte."""
    with suppress(FileNotFoundError):
        if path.read_bytes() == content:
            return path
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
    except FileNotFoundError:      # the folder is looked for once, not for every page
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
    os.replace(beside, path)
    return path


def put_assets(reports: Path) -> None:
    """Put what every page uses under `assets/`: our style and script, and the charts where they were built."""
    for file in [ASSETS / "site.css", ASSETS / "site.js", ASSETS / "dictionary.js", *sorted(BUILT.glob("echarts*"))]:
        put(reports / "assets" / file.name, file.read_bytes())
