"""What is renamed into place is on the disk first, whole: a power cut leaves the old file or the new one."""
from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, content: str, mode: int | None = None) -> None:
    """Put a small file in place: written beside, made durable, renamed."""
    beside = path.with_name(f".{path.name}.part")
    with open(beside, "w", encoding="utf-8") as out:
        out.write(content)
    if mode is not None:
        beside.chmod(mode)
    move(beside, path)


def move(source: Path, target: Path) -> None:
    """Rename a file or a folder of files once its content is durable; an existing file is replaced."""
    for file in [p for p in source.rglob("*")] if source.is_dir() else []:
        sync(file)
    sync(source)
    os.replace(source, target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Make a file's content, or a folder's list of names, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
