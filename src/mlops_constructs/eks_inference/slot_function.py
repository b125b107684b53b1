"""The function that applies a version to a slot, observes it and scales a slot to zero: the only writer of slots."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from constructs import Construct
from mlops_constructs._functions import define_function
from mlops_constructs._roles import allow, key_statement
from mlops_constructs._stack_values import stack_of
from mlops_constructs.eks_inference.eks_cluster import EksCluster
from mlops_constructs.eks_inference.manifest_applier import describe_statement
from mlops_constructs.eks_inference.slot_load_balancer import ServiceLoadBalancer
from mlops_constructs.unit_interface import IBusinessUnit

SLOT_REASON = (
    "specs are named by their hash, below the service's own prefix, and listener rules are described without a resource type; "
    "rejected: one object for all specs, which could change during a rollout"
)


def slot_environment(balancer: ServiceLoadBalancer, *, cluster: EksCluster, namespace: str) -> dict[str, str]:
    """Return the environment by which a function finds both slots (``mlops_runtime.eks.slot_reader``).

    Args:
        balancer: Load balancer with the rule and target groups.
        namespace: The tenant's namespace.
    """
    return {
        "TARGET": "EKS",
        "CLUSTER": cluster.name,
        "NAMESPACE": namespace,
        "RULE": balancer.rule_arn,
        "TARGET_GROUPS": stack_of(balancer).to_json_string(dict(balancer.target_group_arns)),
    }


def look_statements(cluster: EksCluster) -> list[iam.PolicyStatement]:
    """Return the permissions to locate the live slot: to read the rule's weights and the cluster.

    Args:
        cluster: The cluster; the function's access entry limits what it can read there.
    """
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html: no resource type
    rules = allow("elasticloadbalancing:DescribeRules", "*")
    return [rules, describe_statement(cluster)]


def define_slot_function(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    cluster: EksCluster,
    service_name: str,
    environment: Mapping[str, str],
) -> lambda_.Function:
    """Define the function ``eks_slot``.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit; provides network and the bucket of specs.
        environment: Environment of ``slot_environment``.
    """
    specs = business_unit.artifacts.arn_for_objects(f"specs/{service_name}/*")
    return define_function(
        scope,
        id,
        business_unit=business_unit,
        folder="eks_slot",
        description=f"Applies versions to the slots of {service_name}, checks them and scales them to zero",
        environment={
            "ENDPOINT": service_name,
            "ARTIFACTS_BUCKET": business_unit.artifacts.bucket_name,
            **environment,
        },
        statements=[
            allow("s3:GetObject", specs),
            key_statement(business_unit.key, services=["dynamodb", "s3"], actions=["kms:Decrypt"]),
            *look_statements(cluster),
        ],
        timeout=cdk.Duration.minutes(2),
        wildcard_reason=SLOT_REASON,
    )


def read_lock(function: lambda_.Function, *, table: dynamodb.ITable) -> None:
    """Let the function read the lock of the service: it changes slots only for the lock's owner.

    Args:
        function: The function ``eks_slot``, which must exist before the table as the state machine invokes it.
        table: The rollout table.
    """
    function.add_environment("ROLLOUT_TABLE", table.table_name)
    function.add_to_role_policy(allow("dynamodb:GetItem", table.table_arn))
