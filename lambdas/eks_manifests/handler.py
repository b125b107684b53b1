"""Custom resource that applies Kubernetes manifests with its role's own access, or as a temporary administrator."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.eks.cluster_client import Cluster
from mlops_runtime.eks.manifest_delivery import AdminAccess, ManifestsResource
from mlops_runtime.lambda_protocol import answer

logging.getLogger().setLevel(logging.INFO)

_RESERVE_MS = 60_000  # for removing the temporary administrator access
SESSION = boto3.Session()
ADMIN = (
    AdminAccess(
        eks=SESSION.client("eks"),
        s3=SESSION.client("s3"),
        principal=os.environ["PRINCIPAL_ARN"],
        policy=os.environ["ADMIN_POLICY_ARN"],
        bucket=os.environ["AUDIT_BUCKET"],
    )
    if "ADMIN_POLICY_ARN" in os.environ
    else None
)
RESOURCE = ManifestsResource(connect=lambda name: Cluster.connect(SESSION, name), admin=ADMIN)


def handler(event: dict[str, Any], context: Any) -> None:
    """Handle one request of CloudFormation and send the response."""
    RESOURCE.handle(event, answer, has_time=lambda: context.get_remaining_time_in_millis() > _RESERVE_MS)
