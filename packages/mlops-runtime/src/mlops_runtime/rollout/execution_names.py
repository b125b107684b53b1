"""Deterministic names and tags of executions and their resources, so that a retry creates nothing twice."""

import hashlib
import logging
from typing import TYPE_CHECKING

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.rollout import ServingSpec

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import TagTypeDef
    from mypy_boto3_stepfunctions import SFNClient

logger = logging.getLogger(__name__)

ENDPOINT_TAG = "mlops:endpoint"
EXECUTION_TAG = "mlops:execution"
# of an execution's hash, in the names of its resources
CHARACTERS_OF_EXECUTION = 8


def execution_arn(machine_arn: str, name: str) -> str:
    """Return the ARN of the execution with a name.

    Example:
        >>> execution_arn("arn:aws:states:us-east-1:123456789012:stateMachine:Deploy", "one")
        'arn:aws:states:us-east-1:123456789012:execution:Deploy:one'
    """
    return f"{machine_arn.replace(':stateMachine:', ':execution:')}:{name}"


def short_hash(text: str) -> str:
    """Return the first 16 hexadecimal digits of a string's SHA-256, for use in names."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def start_once(stepfunctions: "SFNClient", machine_arn: str, name: str, request: object) -> str:
    """Start a machine on a request; an existing execution of that name counts as started; return the execution's ARN.

    See: https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
    """
    try:
        stepfunctions.start_execution(stateMachineArn=machine_arn, name=name, input=canonical_json(request).decode())
    except stepfunctions.exceptions.ExecutionAlreadyExists:
        logger.info("execution %s already exists", name)
    return execution_arn(machine_arn, name)


def running_executions(stepfunctions: "SFNClient", machine_arn: str) -> list[str]:
    """Return the ARNs of a machine's executions that run or wait."""
    pages = stepfunctions.get_paginator("list_executions").paginate(stateMachineArn=machine_arn, statusFilter="RUNNING")
    return [execution["executionArn"] for page in pages for execution in page["executions"]]


def version_name(endpoint: str, execution: str) -> str:
    """Return the name of both the model and the endpoint config that an execution creates.

    Example:
        >>> version_name("demand-forecast", "arn:aws:states:us-east-1:123456789012:execution:Deploy:one")
        'demand-forecast-4588cf62'
    """
    return f"{endpoint}-{hashlib.sha256(execution.encode()).hexdigest()[:CHARACTERS_OF_EXECUTION]}"


def rehearsal_name(endpoint: str, execution: str) -> str:
    """Return the name of both the endpoint and the config of an execution's rehearsal.

    Example:
        >>> rehearsal_name("demand-forecast", "arn:aws:states:us-east-1:123456789012:execution:Deploy:one")
        'demand-forecast-golden-4588cf62'
    """
    return version_name(f"{endpoint}-golden", execution)


def rehearsal_pattern(endpoint: str) -> str:
    """Return the name pattern of an endpoint's rehearsals, as narrow as IAM wildcards allow.

    Example:
        >>> rehearsal_pattern("demand-forecast")
        'demand-forecast-golden-????????'
    """
    return f"{endpoint}-golden-{'?' * CHARACTERS_OF_EXECUTION}"


def shadow_name(endpoint: str, execution: str) -> str:
    """Return the name of the config in which an execution's candidate is a shadow variant."""
    return version_name(endpoint, f"{execution}/shadow")


def version_tags(spec: ServingSpec, execution: str) -> "list[TagTypeDef]":
    """Return the tags of all resources of an execution: the spec's (unit, owner, cost centre), endpoint and execution."""
    tags = {**spec.tags, ENDPOINT_TAG: spec.endpoint, EXECUTION_TAG: execution}
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
