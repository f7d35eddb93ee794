"""The tables of docs/views.md, made from the headers of the views. `python -m tests.warehouse.documented` writes them."""
from __future__ import annotations

import re

from pipelines import themes
from pipelines.settings import Project
from tests.support import REPOSITORY

DOCUMENT = REPOSITORY / "docs/views.md"
_KEYS = {"粒度 grain: ": "grain", "规则 rule: ": "rule", "匹配 match: ": "match", "未含 left out: ": "left out"}


def _said(theme: themes.Theme) -> dict[str, str]:
    """What a view's comment says, by key of its header."""
    first, *others = theme.comment.splitlines()
    zh, _, en = first.partition(" — ")
    return {"zh": zh, "en": en} | {key: line.removeprefix(mark) for line in others for mark, key in _KEYS.items() if line.startswith(mark)}


def _question(theme: themes.Theme) -> str:
    return re.match(r"[QV]\d*", _said(theme)["rule"])[0]


def _described() -> list[themes.Theme]:
    """Every theme view, and the governance view that answers a question."""
    return sorted((t for t in themes.themes(Project(REPOSITORY)) if re.match(r"[QV]\d*：", _said(t)["rule"])), key=lambda t: (_question(t)[0], int(_question(t)[1:] or 0), t.id))


def sections() -> dict[str, str]:
    """Name of a marked part of the document → what must stand in it."""
    questions = ["| question | view | what it lists |", "|---|---|---|"]
    views = []
    for theme in _described():
        said = _said(theme)
        questions.append(f"| {_question(theme)} | `{theme.id}` | {said['zh']} {said['en']} |")
        views += [f"### {theme.id}", "", f"{said['zh']} — {said['en']}", ""]
        views += [f"- {key}: {said[key]}" for key in ("grain", "rule", "match", "left out") if key in said]
        views += [f"- columns: {', '.join(f'`{c}`' for c, _ in theme.columns)}", ""]
    return {"questions": "\n".join(questions), "views": "\n".join(views).strip()}


def written(document: str) -> str:
    """`document` with every marked part replaced."""
    for part, content in sections().items():
        begin, end = f"<!-- begin: {part} -->\n", f"\n<!-- end: {part} -->"
        before, _, rest = document.partition(begin)
        document = before + begin + content + end + rest.partition(end.strip("\n"))[2]
    return document


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
