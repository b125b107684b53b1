"""Mirror retrainings and live models to MLflow. Triggers: the unit's event bus, and a schedule for undelivered events."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.tracking.mlflow_rest import MlflowPassword, MlflowRest
from mlops_runtime.tracking.run_mirror import RunMirror
from mlops_runtime.tracking.tracking_outbox import TrackingOutbox, TrackingSettings

logging.getLogger().setLevel(logging.INFO)

SECRET = os.environ.get("TRACKING_SECRET")
PASSWORD = MlflowPassword.of_secret(SECRET, secrets=boto3.client("secretsmanager")) if SECRET else None
OUTBOX = TrackingOutbox(
    TrackingSettings.from_environment(os.environ),
    RunMirror(
        MlflowRest(os.environ["TRACKING_URI"], credentials=boto3.Session().get_credentials, password=PASSWORD),
        experiment=os.environ["EXPERIMENT"],
        model=os.environ["MODEL"],
    ),
    s3=boto3.client("s3"),
    dynamodb=boto3.client("dynamodb"),
    sagemaker=boto3.client("sagemaker"),
)


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Store an event, and deliver all stored events."""
    del context
    return OUTBOX.handle(event)
