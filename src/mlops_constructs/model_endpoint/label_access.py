"""Permissions to upload labels of an endpoint and to assign ids to rows of its calls."""

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._roles import grant_statements, key_statement
from mlops_constructs._stack_values import stack_values
from mlops_constructs._validation import ValidationError
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.capture import named_calls_prefix


def grant_labels(
    grantee: iam.IGrantable,
    scope: Construct,
    *,
    endpoint_name: str,
    captures: s3.IBucket | None,
    business_unit: IBusinessUnit,
    table: dynamodb.ITable,
) -> iam.Grant:
    """Grant writing labels of an endpoint and ids of the rows of its calls, without access to captures.

    Args:
        grantee: Principal to grant access to.
        scope: Construct of the endpoint.
        endpoint_name: Name of the endpoint.
        captures: Bucket of captures and labels; ``None`` without data capture.
        business_unit: Owning business unit.
        table: Rollout table, which names the live model.

    Raises:
        ValidationError: If the endpoint has no data capture to join labels with.
    """
    if captures is None:
        problem = "an endpoint without capture has no labels; give it capture=DataCapture(...)"
        raise ValidationError("InvalidGrant", [problem], scope)
    own = [f"labels/{endpoint_name}/*", f"{named_calls_prefix(endpoint_name)}*"]
    return grant_statements(
        grantee,
        [
            _objects(["s3:GetObject", "s3:PutObject"], captures, own),
            iam.PolicyStatement(
                actions=["s3:ListBucket"],
                resources=[captures.bucket_arn],
                conditions={"StringLike": {"s3:prefix": own}},
            ),
            # tells whether labels of the live model are numbers or classes
            _objects(["s3:GetObject"], business_unit.artifacts, [f"evaluations/{endpoint_name}/*"]),
            iam.PolicyStatement(actions=["dynamodb:GetItem"], resources=[table.table_arn]),
            iam.PolicyStatement(
                actions=["ssm:GetParameter"],
                resources=[
                    stack_values(scope).format_arn(
                        service="ssm",
                        resource="parameter",
                        resource_name=f"mlops/{business_unit.name}/endpoint/{endpoint_name}",
                    )
                ],
            ),
            key_statement(business_unit.key, services=["dynamodb", "s3"]),
        ],
    )


def _objects(actions: list[str], bucket: s3.IBucket, keys: list[str]) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=actions, resources=[bucket.arn_for_objects(key) for key in keys])
