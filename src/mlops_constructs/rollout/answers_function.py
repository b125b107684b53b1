"""The function that reads captured responses of a rollout's fleets."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from constructs import Construct
from mlops_constructs._functions import define_function
from mlops_constructs._stack_values import stack_values
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.serving import CaptureSpec

_WILDCARD_REASON = (
    "SageMaker names captures by variant, hour and a unique id; "
    "rejected: single objects, whose keys are unknown when the stack is deployed"
)
# in MiB, to decode an hour of captures at once
_MEMORY = 512


def define_answers(
    scope: Construct, id: str, *, business_unit: IBusinessUnit, endpoint_name: str, capture: CaptureSpec
) -> lambda_.Function:
    """Define the function that checks whether captured responses contain readable numbers.

    Args:
        scope: Parent construct.
        id: Construct id.
        business_unit: Owning business unit.
        endpoint_name: Name of the endpoint.
        capture: Data capture of the endpoint.
    """
    stack = stack_values(scope)
    # the URI is a token
    place = cdk.Fn.select(1, cdk.Fn.split("s3://", capture.destination))
    bucket = cdk.Fn.select(0, cdk.Fn.split("/", place))
    statements = [
        iam.PolicyStatement(
            actions=["s3:GetObject"], resources=[f"arn:{stack.partition}:s3:::{place}/{endpoint_name}/*"]
        ),
        iam.PolicyStatement(actions=["s3:ListBucket"], resources=[f"arn:{stack.partition}:s3:::{bucket}"]),
    ]
    if capture.kms_key is not None:
        via = {"StringEquals": {"kms:ViaService": f"s3.{stack.region}.{stack.url_suffix}"}}
        statements.append(iam.PolicyStatement(actions=["kms:Decrypt"], resources=[capture.kms_key], conditions=via))
    return define_function(
        scope,
        id,
        business_unit=business_unit,
        folder="rollout_answers",
        description=f"Reads what new fleets of {endpoint_name} answered",
        environment={},
        statements=statements,
        timeout=cdk.Duration.seconds(60),
        memory_size=_MEMORY,
        wildcard_reason=_WILDCARD_REASON,
    )
