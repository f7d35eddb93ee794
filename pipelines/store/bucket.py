"""The objects of one prefix of a bucket: S3 as it is spoken by Amazon, MinIO, Ceph and many others.

Credentials and region are those that every program of the kind takes (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, a role), the server's
address is AWS_ENDPOINT_URL_S3. LAKE_S3_STYLE says where the bucket's name stands in a request: `path` (the default with an address of one's own) or
`virtual`. None of them is ever in a message: of an error only the server's code is told.
"""
from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb

from pipelines.copying import CHUNK
from pipelines.settings import Later, WrongUse
from pipelines.sql import text

SHA = "sha256"      # name of the digest among an object's own facts
_ABSENT = ("404", "NoSuchKey", "NotFound")
_FAILED_CONDITION = ("412", "PreconditionFailed", "409", "ConditionalRequestConflict")
_PASSING = ("500", "502", "503", "504", "InternalError", "ServiceUnavailable", "SlowDown", "RequestTimeout")
_AT_ONCE = 1000     # keys in one request to delete
_AT_A_TIME = 8 << 20


class Taken(Exception):
    """A condition on a put did not hold: somebody else wrote the object first."""


class Address(str):
    """An address below which others lie, put together as paths are."""

    def __truediv__(self, rest: object) -> Address:
        return Address(f"{self}/{rest}")


class Bucket:
    """The objects below `s3://bucket/prefix`, by their names there."""

    def __init__(self, url: str):
        self.url = Address(url)
        self.name, _, self._prefix = url.removeprefix("s3://").partition("/")

    @cached_property
    def _session(self) -> Any:
        """Who asks.

        Raises:
            WrongUse: boto3 is not installed.
        """
        try:
            import boto3
        except ImportError:
            raise WrongUse("LAKE_HOME is in an object store, which needs boto3. Install it: pip install -r requirements.txt") from None
        with self._told():
            return boto3.session.Session()

    @cached_property
    def client(self) -> Any:
        """The connection."""
        session = self._session
        from botocore.config import Config

        with self._told():
            return session.client("s3", region_name=os.environ.get("AWS_REGION") or session.region_name, config=Config(
                s3={"addressing_style": _style(_own_endpoint())}, retries={"mode": "standard", "max_attempts": 5}, connect_timeout=10,
                request_checksum_calculation="when_required", response_checksum_validation="when_required"))

    def get(self, key: str) -> tuple[bytes, str] | None:
        """The bytes and the tag of an object, None when there is none."""
        with self._told():
            try:
                found = self.client.get_object(Bucket=self.name, Key=self._full(key))
            except self.client.exceptions.NoSuchKey:
                return None
            return found["Body"].read(), found["ETag"]

    def put(self, key: str, content: bytes, only_if: str | None = None) -> str:
        """Write a small object; returns its tag.

        Args:
            only_if: the tag that the object must have now; "" when there must be none.

        Raises:
            Taken: the condition does not hold; nothing was written.
        """
        condition = {} if only_if is None else {"IfMatch": only_if} if only_if else {"IfNoneMatch": "*"}
        with self._told(), self._kept(only_if):
            return self.client.put_object(Bucket=self.name, Key=self._full(key), Body=content, Metadata={SHA: hashlib.sha256(content).hexdigest()}, **condition)["ETag"]

    def digest(self, key: str) -> str | None:
        """The SHA-256 that an object was put with, None when there is no such object or it does not say."""
        from botocore.exceptions import ClientError

        with self._told():
            try:
                return self.client.head_object(Bucket=self.name, Key=self._full(key))["Metadata"].get(SHA)
            except ClientError as error:
                if error.response["Error"]["Code"] in _ABSENT:
                    return None
                raise

    def send(self, file: Path, key: str, sha: str, new: bool = False) -> None:
        """Write a file, of any size.

        Args:
            new: only if there is no such object.

        Raises:
            Taken: there is one.
        """
        if file.stat().st_size <= _AT_A_TIME:      # a request; what sends large files in parts takes three times the processor's time for small ones
            self.put(key, file.read_bytes(), only_if="" if new else None)
            return
        if new and self.digest(key) is not None:
            raise Taken(key)
        with self._told():
            self.client.upload_file(str(file), self.name, self._full(key), ExtraArgs={"Metadata": {SHA: sha}})

    def fetch(self, key: str, file: Path) -> str:
        """Read an object into a file; returns its SHA-256, "" when there is none."""
        with open(file, "wb") as out:
            return self.read(key, out.write)

    def read(self, key: str, take: Any = len) -> str:
        """Read an object piece by piece; returns its SHA-256, "" when there is none."""
        digest = hashlib.sha256()
        with self._told():
            try:
                body = self.client.get_object(Bucket=self.name, Key=self._full(key))["Body"]
            except self.client.exceptions.NoSuchKey:
                return ""
            for chunk in body.iter_chunks(CHUNK):
                digest.update(chunk)
                take(chunk)
        return digest.hexdigest()

    def copy(self, key: str, target: str, sha: str) -> None:
        """Put a copy of an object in the place of another, inside the store."""
        with self._told():
            self.client.copy({"Bucket": self.name, "Key": self._full(key)}, self.name, self._full(target),
                             ExtraArgs={"Metadata": {SHA: sha}, "MetadataDirective": "REPLACE"})

    def keys(self) -> Iterator[str]:
        """The names of all objects."""
        with self._told():
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=f"{self._prefix}/"):
                yield from (o["Key"][len(self._prefix) + 1:] for o in page.get("Contents", ()))

    def remove(self, keys: Iterable[str]) -> int:
        """Remove objects; one that is not there is no error. Returns how many."""
        listed = sorted(keys)
        with self._told():
            for first in range(0, len(listed), _AT_ONCE):
                named = [{"Key": self._full(k)} for k in listed[first:first + _AT_ONCE]]
                left = self.client.delete_objects(Bucket=self.name, Delete={"Objects": named, "Quiet": True}).get("Errors", [])
                if left:
                    raise WrongUse(f"{self.url}: the account may not remove objects ({left[0].get('Code')}). It must, below this prefix.")
        return len(listed)

    def lend(self, con: duckdb.DuckDBPyConnection) -> None:
        """Let a DuckDB connection read the objects, with the account's credentials, for as long as it lives.

        Raises:
            WrongUse: the extension httpfs is not installed.
        """
        load_httpfs(con)
        con.execute("SET enable_http_metadata_cache = true")      # objects that views name are written once
        with self._told():
            credentials = self._session.get_credentials().get_frozen_credentials()
            endpoint = urlsplit(self.client.meta.endpoint_url)
            given = {"KEY_ID": credentials.access_key, "SECRET": credentials.secret_key, "SESSION_TOKEN": credentials.token, "REGION": self.client.meta.region_name,
                     "URL_STYLE": {"path": "path"}.get(_style(_own_endpoint()), "vhost"), "SCOPE": str(self.url)}
            if _own_endpoint():
                given |= {"ENDPOINT": endpoint.netloc + endpoint.path.rstrip("/"), "USE_SSL": endpoint.scheme == "https"}
        listed = ", ".join(f"{k} {text(v)}" for k, v in given.items() if v is not None)
        try:
            con.execute(f"CREATE OR REPLACE TEMPORARY SECRET lake (TYPE s3, {listed})")
        except duckdb.Error as error:      # its words could quote the statement
            raise WrongUse(f"{self.url}: DuckDB does not take the credentials ({type(error).__name__}).") from None

    @contextmanager
    def _kept(self, only_if: str | None) -> Iterator[None]:
        """An object that was to be there and is gone fails the condition too."""
        try:
            yield
        except self.client.exceptions.ClientError as error:
            if only_if and error.response["Error"]["Code"] in _ABSENT:
                raise Taken("404") from None
            raise

    def _full(self, key: str) -> str:
        return f"{self._prefix}/{key}"

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong, in words of ours: the store's own may quote a key or a path.

        Raises:
            WrongUse: credentials, rights, bucket or setting.
            Later: the store cannot be reached, or not now.
            Taken: a condition did not hold.
        """
        from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, HTTPClientError, NoCredentialsError, PartialCredentialsError

        try:
            yield
        except (NoCredentialsError, PartialCredentialsError):
            raise WrongUse(f"{self.url}: there are no credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role.") from None
        except (EndpointConnectionError, HTTPClientError) as error:
            raise Later(f"{self.url}: the object store cannot be reached ({type(error).__name__}). Look at AWS_ENDPOINT_URL_S3 and the network, then run the command again.") from None
        except ClientError as error:
            raise self._error(str(error.response.get("Error", {}).get("Code"))) from None
        except (BotoCoreError, ValueError) as error:
            raise WrongUse(f"{self.url}: the settings of the object store do not work ({type(error).__name__}). Look at AWS_ENDPOINT_URL_S3, AWS_REGION and AWS_PROFILE.") from None
        except Exception as error:      # of the part that sends large files; its words quote names
            if isinstance(error.__context__, ClientError):
                raise self._error(str(error.__context__.response.get("Error", {}).get("Code"))) from None
            if type(error).__module__.startswith(("boto3", "s3transfer")):
                raise Later(f"{self.url}: a file could not be sent ({type(error).__name__}). Run the command again.") from None
            raise

    def _error(self, code: str) -> Exception:
        if code in _FAILED_CONDITION:
            return Taken(code)
        if code in _PASSING:
            return Later(f"{self.url}: the object store does not answer now ({code}). Run the command again.")
        if code == "NoSuchBucket":
            return WrongUse(f"The object store has no bucket {self.name}. Make it first; the lake does not, because who may read it is decided there.")
        return WrongUse(f"{self.url}: the object store refuses ({code}). The account must list the bucket {self.name}, and read, write and remove objects below the prefix.")


def load_httpfs(con: duckdb.DuckDBPyConnection) -> None:
    """Load DuckDB's extension for object stores, from its package or from where this account installed it; nothing is fetched.

    Raises:
        WrongUse: it is in neither place.
    """
    from importlib.util import find_spec

    package = find_spec("duckdb_extension_httpfs")
    beside = Path(package.origin).parent / "extensions" / f"v{duckdb.__version__}" / "httpfs.duckdb_extension" if package and package.origin else None
    try:
        con.execute(f"LOAD {text(beside)}" if beside and beside.exists() else "LOAD httpfs")
    except duckdb.Error:
        raise WrongUse(f"DuckDB's extension httpfs is not installed. Install it: pip install duckdb-extension-httpfs=={duckdb.__version__}") from None


def _own_endpoint() -> bool:
    return any(os.environ.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))


def _style(own_endpoint: bool) -> str:
    wish = os.environ.get("LAKE_S3_STYLE") or ("path" if own_endpoint else "virtual")
    if wish not in ("path", "virtual"):
        raise WrongUse(f"LAKE_S3_STYLE is {wish!r}; say path or virtual.")
    return wish
