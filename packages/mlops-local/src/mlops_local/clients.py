"""boto3 clients of the child process, with root credentials for its own endpoint."""

import functools
import threading
from typing import Any

import boto3
from botocore.config import Config
from ministack.core.responses import get_account_id, get_region

from mlops_local import settings

_LOCK = threading.Lock()


def client(service: str) -> Any:
    """Return a client of an AWS service of the embedded cloud, as root of this thread's account and Region.

    It calls over HTTP: never use it on the event loop, which has to serve the call.
    """
    with _LOCK:  # creating a client is not thread-safe, using one is
        return _client(service, get_account_id(), get_region())


def root_keys() -> dict[str, Any]:
    """Return root credentials of this thread's account as arguments of ``boto3.client``."""
    return settings.root_keys(get_account_id())


def iceberg_files() -> dict[str, str]:
    """Return pyiceberg's settings for files in S3, with these credentials."""
    root = root_keys()
    keys = {"s3.access-key-id": root["aws_access_key_id"], "s3.secret-access-key": root["aws_secret_access_key"]}
    return {"s3.endpoint": settings.endpoint_url(), "s3.region": get_region(), **keys}


@functools.cache
def _client(service: str, account: str, region: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=settings.endpoint_url(),
        region_name=region,
        **settings.root_keys(account),
        config=Config(retries={"mode": "standard", "total_max_attempts": 3}, max_pool_connections=32),
    )
