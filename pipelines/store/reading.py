"""The Iceberg library reads and writes a lake's files in the working folder, and names them by their address in the object store."""
from __future__ import annotations

from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from pipelines.store.tables import local


class Kept(PyArrowFileIO):
    """Files whose address is in the object store, opened where this machine has them."""

    @staticmethod
    def parse_location(location: str, properties: Properties = EMPTY_DICT) -> tuple[str, str, str]:
        """(scheme, host, path) of a file that a table names."""
        return PyArrowFileIO.parse_location(local(location, properties), properties)
