"""`python -m tests.chaos.report FIGURES.json`: puts the figures of a chaos run into docs/reliability.md, between its two marks."""
from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from tests.support import REPOSITORY

PAGE = REPOSITORY / "docs" / "reliability.md"
_PLACE = re.compile(r"(<!-- figures -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def table(figures: dict[str, Any]) -> str:
    """The figures as Markdown."""
    readers = figures["readers"]
    lines = [f"`make test-chaos KILLS={figures['kills']} SEED={figures['seed']}`: {figures['kills']} kills in {figures['rounds']} rounds and "
             f"{figures['seconds']:,} s; {figures['before']} came before the decisive instant of their operation, {figures['after']} after it; "
             f"{figures['ended']} more came when the operation had ended by itself and count as none. Two readers made {readers['passes']:,} passes over "
             f"{readers['releases_seen']} of {figures['releases']} releases, {readers['held_across_a_release']} of them on a connection held across a "
             f"release. Errors of readers: {len(readers['errors'])}. Differences from the twin: {len(figures['faults'])}.", "",
             "| operation | kills | before | after | runs | seconds a run |", "|---|---|---|---|---|---|"]
    lines += [f"| {name} | {t['kills']} | {t['before']} | {t['after']} | {t['runs']} | {t['seconds']} |" for name, t in figures["operations"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Rewrite the page."""
    figures = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    page, done = _PLACE.subn(lambda m: m[1] + table(figures) + m[2], PAGE.read_text(encoding="utf-8"))
    if not done:
        raise SystemExit(f"{PAGE} has lost its marks <!-- figures --> and <!-- end of figures -->.")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
