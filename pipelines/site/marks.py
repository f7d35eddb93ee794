"""The smallest pieces of a page, which stand on it hundreds of times: words in two languages, lamps, trends, headings.

Functions and no template macros: what they say follows from a few texts, so each is made once per process; a page of rules is made twice as fast.
"""
from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

from markupsafe import Markup, escape

from pipelines.settings import Project

DIMENSIONS = {"01": ("规范性", "Conformity"), "02": ("完整性", "Completeness"), "03": ("准确性", "Accuracy"), "04": ("一致性", "Consistency"),
              "05": ("时效性", "Timeliness"), "06": ("可访问性", "Accessibility")}
SEVERITIES = {"block": ("阻断", "block"), "reject": ("拒收", "reject"), "warn": ("提示", "warn"), None: ("计数", "count")}
OUTCOMES = {"fail": ("不达标", "fail"), "pass": ("达标", "pass"), "not_measured": ("未测量", "not measured")}
LIGHTS = {"red": ("fail", "红灯", "Red"), "amber": ("warn", "黄灯", "Amber"), "green": ("pass", "绿灯", "Green"), None: ("none", "未测量", "Not measured")}
_once: Callable[..., Any] = partial(lru_cache, maxsize=20_000, typed=True)      # typed: a text that is markup and one that is not are two


@lru_cache(maxsize=1)
def indicators() -> dict[str, dict[str, str]]:
    """Indicator code → its row of GB/T 36344-2018."""
    with (Project.open().reference / "quality_indicators.csv").open(encoding="utf-8") as file:
        return {row["indicator_code"]: row for row in csv.DictReader(file)}


@_once()
def t(zh: Any, en: Any) -> Markup:
    """The same in Chinese and in English; the reader's setting shows one or both."""
    return Markup(f'<span class="zh">{escape(zh)}</span> <span class="en" lang="en">{escape(en)}</span>')


@_once()
def h2(place: str, zh: str, en: str) -> Markup:
    """A heading with an anchor."""
    return Markup(f'<h2 id="{escape(place)}" tabindex="-1">{t(zh, en)}</h2>')


@_once()
def lamp(light: str | None, text: bool = True) -> Markup:
    """A light, with its name or without."""
    kind, zh, en = LIGHTS[light]
    return _lamp(kind, t(zh, en) if text else "")


def _lamp(kind: str, words: str) -> Markup:
    return Markup(f'<span class="lamp {kind}"><span class="mark">{words}</span></span>')


@_once()
def outcome(found: str, severity: str | None) -> Markup:
    """The outcome of a rule; a warning's failure is no alarm."""
    return _lamp({"pass": "pass", "not_measured": "none"}.get(found, "warn" if severity == "warn" else "fail"), t(*OUTCOMES[found]))


@_once()
def outcome_cell(found: str, severity: str | None) -> Markup:
    """`outcome` as a cell of a table."""
    kind = {"pass": "pass", "not_measured": "none"}.get(found, "warn" if severity == "warn" else "fail")
    return Markup(f'<td class="lamp {kind}"><span class="mark">{t(*OUTCOMES[found])}</span></td>')


@_once()
def rule_cells(zh: str, en: str, rule: str, owner: str | None, code: str, severity: str | None) -> Markup:
    """What a rule's row on the page of a batch begins with, which is the same for every batch: its words, indicator and severity."""
    known = indicators().get(code, {})
    who = f" · <bdi>{escape(owner)}</bdi>" if owner else ""
    return Markup(
        f'<th scope="row"><span class="what"><bdi>{escape(zh)}</bdi></span><span class="sub"><bdi lang="en">{escape(en)}</bdi></span>'
        f'<span class="sub"><span class="id">{escape(rule)}</span>{who}</span></th>\n'
        f'    <td>{escape(known.get("indicator", "—"))}<span class="sub">{escape(known.get("dimension", ""))} {escape(code)}</span></td>\n'
        f'    <td>{t(*SEVERITIES[severity])}</td>')


@_once()
def severity(code: str | None) -> Markup:
    """The severity of a rule."""
    return t(*SEVERITIES[code])


@_once()
def dimension(code: str) -> Markup | str:
    """The dimension of an indicator's first two digits."""
    return t(*DIMENSIONS[code]) if code in DIMENSIONS else code


@_once()
def indicator(code: str) -> Markup:
    """An indicator, its dimension and its code."""
    words = indicators().get(code, {}).get("indicator", code)
    return Markup(f'<span class="zh">{escape(words)}</span> <span class="sub">{escape(dimension(code[:2]))} {escape(code)}</span>')


def cells(row: Iterable[Any]) -> Markup:
    """The values of a row as cells of a table; one that is missing is empty. Code lists have tens of thousands of them."""
    return Markup("".join(f"<td>{'' if value is None else escape(value)}</td>" for value in row))


@_once()
def trend(value: float | None) -> Markup:
    """环比 or 同比 with its colour."""
    kind = "same" if value is None or abs(value) <= 0.00005 else "up" if value > 0 else "down"
    return Markup(f'<span class="{kind}">{relative(value)}</span>')


def relative(value: float | None) -> str:
    """环比 or 同比, relative, in percent with its sign."""
    if value is None:
        return "—"
    shown = round(value * 100, 2)
    return f"{'▲' if shown > 0 else '▼' if shown < 0 else '＝'} {abs(shown):.2f} %"
