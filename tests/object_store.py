"""An S3 server of one's own for a test, and a lake in it."""
from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer

BUCKET = "lake-of-tests"


@contextmanager
def server() -> Iterator[dict[str, str]]:
    """The settings of an account on a running server that has an empty bucket."""
    import boto3

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    run = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    run.start()
    host, port = run.get_host_and_port()
    settings = {"AWS_ENDPOINT_URL_S3": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "account", "AWS_SECRET_ACCESS_KEY": "word-of-the-account",
                "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    try:
        boto3.client("s3", endpoint_url=settings["AWS_ENDPOINT_URL_S3"], aws_access_key_id="account", aws_secret_access_key="x",
                     region_name="us-east-1").create_bucket(Bucket=BUCKET)
        yield settings
    finally:
        run.stop()
