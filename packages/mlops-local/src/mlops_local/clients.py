"""boto3 clients of the child process, with root credentials on its own endpoint."""

import functools
import threading
from typing import Any

import boto3
from botocore.config import Config

from mlops_local import settings

_LOCK = threading.Lock()


def client(service: str) -> Any:
    """Return the client of one AWS service on the embedded cloud, as the account's root user.

    It calls over HTTP: use it on a thread of its own, never on the event loop that has to answer it.

    Args:
        service: boto3's name of the service.
    """
    with _LOCK:  # making a client is not thread safe, using one is
        return _client(service)


@functools.cache
def _client(service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=settings.endpoint_url(),
        region_name=settings.region,
        **settings.root_keys(),
        config=Config(retries={"mode": "standard", "total_max_attempts": 3}, max_pool_connections=32),
    )
