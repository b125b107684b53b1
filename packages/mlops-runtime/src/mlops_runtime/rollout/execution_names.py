"""Deterministic names and tags of executions and of what they create, so that a retry creates nothing twice."""

import hashlib
import logging
from typing import TYPE_CHECKING

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.rollout import DeployRequest, ServingSpec

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import TagTypeDef
    from mypy_boto3_stepfunctions import SFNClient

logger = logging.getLogger(__name__)

ENDPOINT_TAG = "mlops:endpoint"
EXECUTION_TAG = "mlops:execution"
# of an execution's hash, in the names of what it makes
CHARACTERS_OF_EXECUTION = 8


def execution_arn(machine_arn: str, name: str) -> str:
    """Return the ARN that an execution of a name has.

    Example:
        >>> execution_arn("arn:aws:states:us-east-1:123456789012:stateMachine:Deploy", "one")
        'arn:aws:states:us-east-1:123456789012:execution:Deploy:one'
    """
    return f"{machine_arn.replace(':stateMachine:', ':execution:')}:{name}"


def short_hash(text: str) -> str:
    """Return 16 hexadecimal digits that stand for a text in a name."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def start_deploy(stepfunctions: "SFNClient", machine_arn: str, name: str, request: DeployRequest) -> str:
    """Start the Deploy machine; an execution of that name that is there already is success.

    See: https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html

    Returns:
        The execution's ARN.
    """
    try:
        stepfunctions.start_execution(stateMachineArn=machine_arn, name=name, input=canonical_json(request).decode())
    except stepfunctions.exceptions.ExecutionAlreadyExists:
        logger.info("execution %s is already there", name)
    return execution_arn(machine_arn, name)


def version_name(endpoint: str, execution: str) -> str:
    """Return the one name of the model and the endpoint config that an execution makes.

    Example:
        >>> version_name("demand-forecast", "arn:aws:states:us-east-1:123456789012:execution:Deploy:one")
        'demand-forecast-4588cf62'
    """
    return f"{endpoint}-{hashlib.sha256(execution.encode()).hexdigest()[:CHARACTERS_OF_EXECUTION]}"


def rehearsal_name(endpoint: str, execution: str) -> str:
    """Return the one name of the endpoint and the config on which an execution rehearses.

    Example:
        >>> rehearsal_name("demand-forecast", "arn:aws:states:us-east-1:123456789012:execution:Deploy:one")
        'demand-forecast-golden-4588cf62'
    """
    return version_name(f"{endpoint}-golden", execution)


def rehearsal_pattern(endpoint: str) -> str:
    """Return the pattern of an endpoint's rehearsals, as narrow as an IAM pattern can be.

    Example:
        >>> rehearsal_pattern("demand-forecast")
        'demand-forecast-golden-????????'
    """
    return f"{endpoint}-golden-{'?' * CHARACTERS_OF_EXECUTION}"


def shadow_name(endpoint: str, execution: str) -> str:
    """Return the name of the config in which an execution has its candidate as a shadow."""
    return version_name(endpoint, f"{execution}/shadow")


def version_tags(spec: ServingSpec, execution: str) -> "list[TagTypeDef]":
    """Return the tags of everything that an execution makes: the spec's (unit, owner, cost centre), endpoint and execution."""
    tags = {**spec.tags, ENDPOINT_TAG: spec.endpoint, EXECUTION_TAG: execution}
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
