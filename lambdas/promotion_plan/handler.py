"""Plan of a promotion: the objects to copy of a release, or the reason for copying nothing."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.promotion.offer_table import OfferTable
from mlops_runtime.promotion.release_reader import ReleaseReader
from mlops_runtime.promotion.target_environment import target_of

logging.getLogger().setLevel(logging.INFO)

READER = ReleaseReader(
    s3=boto3.client("s3"),
    sagemaker=boto3.client("sagemaker"),
    table=OfferTable(boto3.client("dynamodb"), os.environ["PROMOTIONS_TABLE"]),
    target=target_of(os.environ),
)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Plan ``{"record_uri", "record_sha256", "execution", "now"}``."""
    del context
    return READER.plan(event)
