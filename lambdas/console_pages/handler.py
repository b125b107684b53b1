"""Custom resource of a console: writes its pages to the bucket of its distribution."""

import logging
import os
from pathlib import Path
from typing import Any

import boto3

from mlops_runtime.console.page_files import FILES, PagePublication
from mlops_runtime.lambda_protocol import answer

logging.getLogger().setLevel(logging.INFO)

PUBLICATION = PagePublication(
    s3=boto3.client("s3"), bucket=os.environ["BUCKET"], document=Path(__file__).with_name(FILES).read_text()
)


def handler(event: dict[str, Any], context: object) -> None:
    """Handle one request of CloudFormation and send the response."""
    del context
    PUBLICATION.handle(event, answer)
