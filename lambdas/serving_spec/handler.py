"""Custom resource of a model endpoint: stores the desired serving spec and starts the Deploy machine."""

import logging
import os
from typing import Any

import boto3
from botocore.config import Config

from mlops_runtime.lambda_protocol import answer
from mlops_runtime.rollout.audit_chain import AuditChain
from mlops_runtime.rollout.spec_resource import SpecResource

logging.getLogger().setLevel(logging.INFO)

RESOURCE = SpecResource(
    s3=boto3.client("s3"),
    sagemaker=boto3.client("sagemaker"),
    cloudwatch=boto3.client("cloudwatch"),
    stepfunctions=boto3.client("stepfunctions"),
    ecr=boto3.client("ecr", config=Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})),
    chain=AuditChain.from_environment(os.environ, boto3.client),
    bucket=os.environ["ARTIFACTS_BUCKET"],
    machine_arn=os.environ["DEPLOY_MACHINE_ARN"],
    is_on_eks=os.environ.get("TARGET") == "EKS",
)


def handler(event: dict[str, Any], context: object) -> None:
    """Handle one request of CloudFormation and send the response."""
    del context
    RESOURCE.handle(event, answer)
