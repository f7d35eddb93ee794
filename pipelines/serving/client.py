"""Ask the query server from the command line; what it does stands in docs/recipes.md in six lines, for any program."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as flight

from pipelines.settings import WrongUse


def ask(server: str, sql: str, token: str, certificate: Path | None = None) -> dict[str, Any]:
    """Columns and rows of one statement.

    Args:
        server: address and port, such as lake.example.cn:31337.
        certificate: the certificate, or that of its issuer, when the machine does not trust it already.

    Raises:
        WrongUse: the server cannot be reached or does not answer this; the message is its own.
    """
    trusted = {"tls_root_certs": certificate.read_bytes()} if certificate else {}
    try:
        with flight.connect(f"grpc+tls://{server}", **trusted) as client:
            options = flight.FlightCallOptions(headers=[(b"authorization", f"Bearer {token}".encode())])
            found = client.do_get(flight.Ticket(sql.encode()), options).read_all()
    except pa.ArrowException as error:
        raise WrongUse(str(error).partition(". Detail: ")[0]) from None
    return {"columns": found.column_names, "rows": [list(row.values()) for row in found.to_pylist()]}
