"""outbox/<department>/<dataset>/<batch_id>~r<revision>/: the one place where a department sees values, its own.

A department's folder is made for the pipeline's account alone (0700). Its administrator may give it to the department's group
(`chgrp`, `chmod 2750`): packs take over what the folder grants to its owner and its group, never anything for others.
"""
from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

from pipelines import durable
from pipelines.batch import BatchId, key_of
from pipelines.settings import Lake


def department_folder(lake: Lake, department: str) -> Path:
    """The folder of one department, by its name; two departments never share one."""
    plain = re.sub(r"[^\w\-]", "_", department)[:60] or "_"
    if plain != department:
        plain += "-" + hashlib.sha256(department.encode()).hexdigest()[:8]
    return lake.outbox / plain


def pack_folder(lake: Lake, department: str, batch_id: str, revision: int) -> Path:
    """Where the pack of one batch lies."""
    return department_folder(lake, department) / BatchId.parse(batch_id).dataset / key_of(batch_id, revision)


def place(lake: Lake, department: str, made: Path, final: Path) -> None:
    """Put a finished pack, a folder of files, into a department's outbox, in place of an earlier one of the same batch."""
    home = department_folder(lake, department)
    if not home.exists():
        home.mkdir()
        home.chmod(0o700)
        durable.sync(home.parent)
    granted = home.stat()
    durable.make_folders(final.parent, home)
    for path in (final.parent, *([final] if final.exists() else ()), made, *made.iterdir()):
        with suppress(PermissionError):      # the account is not in the group: the pack stays its own
            os.chown(path, -1, granted.st_gid)
        path.chmod(granted.st_mode & (0o750 if path.is_dir() else 0o640))
    if not final.exists():
        return durable.replace(made, final)
    new = {path.name for path in made.iterdir()}
    for name in sorted(new):      # one by one: at no moment is there no pack
        durable.replace(made / name, final / name)
    made.rmdir()
    for old in final.iterdir():
        if old.name not in new:
            old.unlink()
