"""Looking after an object store: what is in it, whether it is what was put, who may write, and mending what is damaged from a folder that has it."""
from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pipelines.copying import digest
from pipelines.settings import WrongUse, lake_home, lake_store
from pipelines.store import head as heads, publishing
from pipelines.store.bucket import Bucket
from pipelines.store.folder import AT_ONCE, Entry, Folder
from pipelines.store.head import Head


def described() -> dict[str, Any]:
    """{"store", "generation", "files", "bytes", "writer" (in words), "folder"}."""
    bucket, found = _open()
    files = publishing.state_of(bucket, found)["files"].values()
    writer = f"{found.writer['host']} since {found.writer['since']}" if found.writer else None
    return {"store": bucket.url, "generation": found.generation, "files": len(files), "bytes": sum(f["size"] for f in files), "writer": writer,
            "folder": str(lake_home())}


def take_over() -> dict[str, Any]:
    """See `publishing.take_over`."""
    bucket, _ = _open()
    return publishing.take_over(bucket, Folder(lake_home()))


def findings() -> list[dict[str, str]]:
    """Every object that is missing or not what was put, as `verify` tells them."""
    bucket, found = _open()
    return [{"path": f"{bucket.url}/{key}", "problem": "is missing" if not has else "other bytes than were put there",
             "remedy": "python -m pipelines store --mend puts it again from this machine, if its own file is right"} for key, _, _, has in _damaged(bucket, found)]


def mend() -> dict[str, Any]:
    """Put again what is missing or damaged, from the files here that are what the state says; the caller is in a session.

    Returns:
        {"objects": how many were read, "mended": keys, "lost": addresses of what is not here either}.
    """
    bucket, found = _open()
    state, mended, lost = publishing.state_of(bucket, found), [], []
    databases = {key for place, one in state["opened"].items() for key in (place, one["key"])}
    damaged = _damaged(bucket, found)
    for key, path, sha, _ in damaged:
        file = lake_home() / path
        if key in databases:
            mended.append(key)
        elif file.exists() and digest(file)[0] == sha:
            bucket.send(file, key, sha)
            mended.append(key)
        else:
            lost.append(f"{bucket.url}/{key}")
    if databases & set(mended):
        bucket.remove(databases & set(mended))      # made anew it may be the same to the byte: then nothing else would tell that it has to be put
        publishing.publish(bucket, Folder(lake_home()), again=True)
    return {"objects": sum(1 for _ in _objects(state)), "mended": mended, "lost": lost}


def _damaged(bucket: Bucket, found: Head) -> list[tuple[str, str, str, bool]]:
    """(key, path, SHA-256 it should have, whether it is there) of every object that is not what was put."""
    listed = list(_objects(publishing.state_of(bucket, found)))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        read = pool.map(bucket.read, [key for key, _, _ in listed])
        return [(*one, bool(sha)) for one, sha in zip(listed, read) if sha != one[2]]


def _objects(state: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(key, path, SHA-256) of every object that a state stands on."""
    yield from ((e.key, p, e.sha256) for p, e in ((p, Entry(**e)) for p, e in state["files"].items()))
    yield from ((key, place, one["sha256"]) for place, one in state["opened"].items() for key in (place, one["key"]))


def _open() -> tuple[Bucket, Head]:
    url = lake_store()
    if not url:
        raise WrongUse("The lake is on a disk. LAKE_HOME=s3://bucket/prefix keeps it in an object store: docs/object_storage.md")
    bucket = Bucket(url)
    found = heads.read(bucket)
    if found is None:
        raise WrongUse(f"There is no lake at {url} yet.")
    return bucket, found
