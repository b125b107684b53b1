"""Start Promote executions for releases of another environment. Trigger: SQS."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.lambda_protocol import each
from mlops_runtime.promotion.offer_table import OfferTable
from mlops_runtime.promotion.promotion_guard import OfferGuard, OfferSettings
from mlops_runtime.promotion.target_environment import max_wait_of, target_of

logging.getLogger().setLevel(logging.INFO)

TARGET = target_of(os.environ)
GUARD = OfferGuard(
    stepfunctions=boto3.client("stepfunctions"),
    table=OfferTable(boto3.client("dynamodb"), os.environ["PROMOTIONS_TABLE"]),
    settings=OfferSettings(
        machine_arn=os.environ["PROMOTE_MACHINE_ARN"],
        unit=TARGET.unit,
        group=TARGET.group,
        source=TARGET.source,
        recheck_rule=os.environ["RECHECK_RULE"],
        max_wait=max_wait_of(os.environ),
    ),
)


def handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    """Handle each message; those that fail stay in the queue."""
    del context
    return each(event, GUARD.handle)
