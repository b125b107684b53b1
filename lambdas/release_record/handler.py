"""Release of a package: verify it, record it in the audit chain, and write it where other accounts may copy it."""

import logging
import os
from datetime import datetime
from typing import Any

import boto3

from mlops_runtime.contracts import from_dict, to_dict
from mlops_runtime.contracts.release import ReleaseRequest
from mlops_runtime.promotion.release_writer import ReleaseWriter

logging.getLogger().setLevel(logging.INFO)

WRITER = ReleaseWriter.from_environment(os.environ, boto3.client)


def handler(event: dict[str, Any], context: object) -> Any:
    """Release the package of ``{"request", "execution", "now"}``, or return the reason for not releasing it."""
    del context
    request = from_dict(ReleaseRequest, event["request"])
    now = datetime.fromisoformat(event["now"])
    return to_dict(WRITER.release(request, execution=event["execution"], now=now))
