"""Files that survive a power cut: content reaches the disk before its name does, and the name before anything relies on it.

A rename alone is atomic for readers, not for the disk: after a power cut the new name may stand over an empty file.
"""
from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SIDE_BY_SIDE = 8      # what is brought to the disk at a time


def write(path: Path, content: bytes | str, mode: int | None = None) -> None:
    """Write a file beside `path` and put it in its place.

    Args:
        mode: the file's mode; without it, that of a new file.
    """
    beside = path.with_name(f"{path.name}.part")
    beside.write_bytes(content.encode() if isinstance(content, str) else content)
    if mode is not None:
        beside.chmod(mode)
    replace(beside, path)


def replace(source: Path, target: Path) -> None:
    """Put a file or a folder, all of it on the disk first, in the place of `target`; on the disk too when this returns."""
    sync_tree(source)
    os.replace(source, target)
    sync(target.parent)


def replace_all(moves: Iterable[tuple[Path, Path]]) -> None:
    """`replace` for many files and folders: the disk is asked for all of them at a time. After a death each of them is in its place or not."""
    listed = list(moves)
    _each(sync_tree, [source for source, _ in listed])
    for source, target in listed:
        os.replace(source, target)
    _each(sync, sorted({target.parent for _, target in listed}))


def _each(work: Callable[[Path], None], paths: list[Path]) -> None:
    """Do it to all of them, some side by side: each thread has its share from the start, because to hand over one by one costs as much as to ask the disk."""
    if len(paths) < 2:
        for path in paths:
            work(path)
        return
    shares = [paths[first::SIDE_BY_SIDE] for first in range(min(SIDE_BY_SIDE, len(paths)))]
    with ThreadPoolExecutor(len(shares)) as pool:
        list(pool.map(lambda share: [work(path) for path in share], shares))


def link(source: Path, target: Path) -> None:
    """The same content under another name, for files that are never changed; a copy where the file system has no hard links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
        sync(target)


def remove(folder: Path, mark: str) -> None:
    """Remove a folder, first the file `mark` that says it is whole: what a death leaves of it is nowhere taken for whole."""
    (folder / mark).unlink(missing_ok=True)
    shutil.rmtree(folder)


def sync_tree(path: Path) -> None:
    """Bring a file, or a folder with all that is in it, to the disk."""
    if path.is_dir():
        _sync_inner(path)
    sync(path)


def _sync_inner(folder: Path | os.DirEntry) -> None:
    with os.scandir(folder) as entries:
        for inner in entries:
            if inner.is_dir(follow_symlinks=False):
                _sync_inner(inner)
            if not inner.is_symlink():
                sync(inner)


def make_folders(path: Path, root: Path) -> None:
    """Make `path` and what is missing above it, up to `root`, which exists; their names are on the disk when this returns."""
    missing = [p for p in (path, *path.parents) if root in p.parents and not p.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync(folder.parent)


def sync(path: Path | os.DirEntry) -> None:
    """Bring a file's content or a folder's names to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
