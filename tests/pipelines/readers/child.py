"""The child program's modules in this process, so that a property can be tried on many documents."""
from __future__ import annotations

import importlib
import sys
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
from hypothesis import settings, strategies as st

from pipelines.readers import extracted

FEW = settings(max_examples=60, deadline=None, derandomize=True, database=None)
WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="\ufffe\uffff\U0010ffff\U0010fffe"), max_size=8)
TABLES = st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(WORDS, min_size=width, max_size=width), min_size=1, max_size=6))


@lru_cache
def modules() -> SimpleNamespace:
    """They import each other by plain names, as in their own process."""
    folder = str(Path(extracted.__file__).parent)
    sys.path.insert(0, folder)
    try:
        return SimpleNamespace(**{name: importlib.import_module(name) for name in ("sheets", "sheet_parts", "json_records", "dbf_records", "xml_records", "spool")})
    finally:
        sys.path.remove(folder)


def extract(module: Any, root: Path, content: bytes, form: str, **order: Any) -> list[tuple[list[str], list[list[str]], dict]]:
    """(header, rows, facts) of every table of a document."""
    (root / "document").write_bytes(content)
    plain = {"form": form, "path": str(root / "document"), "sheet": None, "header": [], "record_path": None, "trailer": None, "encoding": "auto", "spelled": []}
    tables = module.extract(plain | order, root)
    return [(t["header"], [list(r.values())[:-1] for r in pq.read_table(t["path"]).to_pylist()], t) for t in tables]
