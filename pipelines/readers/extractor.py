"""The program that extracts records from documents; `extracted.py` runs it in a child process with bounded memory and time.

It reads an order (JSON) from standard input: form, path, out, memory_mb, seconds and what the source declares. It writes
out/<n>.parquet per table and out/answer.json, whole, at the end: {"tables": […]} or {"refused": code, "said": …}. When the
machine fails it (a full disk), it ends with 100 and the error number as its code.
"""
from __future__ import annotations

import importlib
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

TROUBLE = 100
GRACE_SECONDS = 5      # between the signal that tells of used-up time and the one that cannot be told from the kernel's
MODULES = {"xlsx": "sheets", "xls": "sheets", "ods": "sheets", "json": "json_records", "jsonl": "json_records",
           "xml": "xml_records", "dbf": "dbf_records"}


def main(order: dict[str, Any]) -> None:
    """Extract and write the answer."""
    for limit, most in ((resource.RLIMIT_AS, order["memory_mb"] << 20), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (order["seconds"], order["seconds"] + GRACE_SECONDS))
    from spool import is_trouble  # loads pyarrow, which must be within the limits
    try:
        _answer(order, Path(order["out"]))
    except OSError as error:
        if not is_trouble(error):
            raise
        sys.exit(TROUBLE + error.errno)


def _answer(order: dict[str, Any], out: Path) -> None:
    from spool import Refused
    try:
        answer: dict[str, Any] = {"tables": importlib.import_module(MODULES[order["form"]]).extract(order, out)}
    except Refused as refused:
        answer = {"refused": str(refused), "said": refused.said}
    except MemoryError:
        answer = {"refused": "memory", "said": ""}
    beside = out / "answer.part"
    beside.write_text(json.dumps(answer), encoding="utf-8")
    os.replace(beside, out / "answer.json")


if __name__ == "__main__":
    main(json.load(sys.stdin))
