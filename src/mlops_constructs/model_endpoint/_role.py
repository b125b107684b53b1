"""Role of a model's containers: what SageMaker does in its name, and nothing else."""

from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._iam import ServiceRole, key_statement, service_role
from mlops_constructs._sagemaker import ROLE_REASON, SERVICE, container_statements
from mlops_constructs.model_endpoint.capacity import EndpointCapacity
from mlops_constructs.model_endpoint.exchange import Exchange
from mlops_constructs.model_registry import ModelImage
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.rollout.execution_names import rehearsal_pattern

CAPTURE_PREFIX = "capture"


def define_model_role(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    endpoint_name: str,
    image: ModelImage,
    capacity: EndpointCapacity,
    rollback_alarms: Sequence[str],
    capture_bucket: s3.IBucket | None,
    exchange: Exchange | None,
    is_rehearsed: bool,
) -> ServiceRole:
    """Define the role.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
        endpoint_name: The endpoint.
        image: Image that the role may pull.
        capacity: On what the endpoint runs.
        rollback_alarms: ARNs of alarms that roll a deployment back.
        capture_bucket: Bucket of captures; None without capture.
        exchange: Bucket of requests and answers; None for endpoints that answer at once.
        is_rehearsed: Whether candidates rehearse on endpoints of their own, whose containers have logs of their own.
    """
    models = business_unit.artifacts.arn_for_objects(f"models/{endpoint_name}/*")
    statements = [
        *image.pull_statements(scope),
        iam.PolicyStatement(actions=["s3:GetObject"], resources=[models]),
        key_statement(business_unit.key, services=["s3"]),
        *container_statements(
            scope,
            log_group=f"/aws/sagemaker/Endpoints/{endpoint_name}",
            namespace="/aws/sagemaker/Endpoints",
            is_networked=not capacity.is_serverless,
            more_logs=[f"/aws/sagemaker/Endpoints/{rehearsal_pattern(endpoint_name)}"] if is_rehearsed else [],
        ),
    ]
    if not capacity.is_serverless:
        # SageMaker reads the alarms that roll a deployment back with the model's role
        # https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
        statements.append(iam.PolicyStatement(actions=["cloudwatch:DescribeAlarms"], resources=list(rollback_alarms)))
    if capture_bucket is not None:
        captures = capture_bucket.arn_for_objects(f"{CAPTURE_PREFIX}/{endpoint_name}/*")
        statements.append(iam.PolicyStatement(actions=["s3:PutObject"], resources=[captures]))
    if exchange is not None:
        statements += [*exchange.role_statements(), *_topic_statements(business_unit, capacity)]
    return service_role(
        scope,
        id,
        service=SERVICE,
        statements=statements,
        business_unit=business_unit,
        description=f"Containers of models behind {endpoint_name}",
        wildcard_reason=ROLE_REASON,
    )


def _topic_statements(business_unit: IBusinessUnit, capacity: EndpointCapacity) -> list[iam.PolicyStatement]:
    config = capacity.asynchronous_config
    topics = [] if config is None else list(dict.fromkeys(topic.topic_arn for topic in config.topics))
    if not topics:
        return []
    # a topic under the unit's key; any other key's policy must admit the role itself
    key = key_statement(business_unit.key, services=["sns"])
    return [iam.PolicyStatement(actions=["sns:Publish"], resources=topics), key]
