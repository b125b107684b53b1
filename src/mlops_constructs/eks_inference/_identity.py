"""Who the pods of a service are to AWS: one role, narrowed once more to exactly this model and its captures."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._iam import ServiceRole, key_statement, service_role
from mlops_constructs.eks_inference.cluster import EksCluster
from mlops_constructs.unit_interface import IBusinessUnit

CAPTURE_PREFIX = "capture"
_SERVICE = "pods.eks.amazonaws.com"
_REASON = (
    "models and captures get names at run time, below the service's own prefixes; "
    "rejected: one object for all, and a wider prefix"
)


def define_pod_role(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    cluster: EksCluster,
    service_name: str,
    capture_bucket: s3.IBucket | None,
) -> ServiceRole:
    """Define the role: read the models of this service, write its captures.

    It trusts the pods of this cluster alone. Which of them take it on is said by its one association.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
        cluster: The cluster.
        service_name: Name of the service.
        capture_bucket: Bucket of captures; None without capture.
    """
    return service_role(
        scope,
        id,
        service=_SERVICE,
        source_arn=cluster.arn,
        has_session_tags=True,
        statements=pod_statements(business_unit, service_name, capture_bucket),
        business_unit=business_unit,
        description=f"Pods of {service_name}",
        wildcard_reason=_REASON,
    )


def pod_statements(
    business_unit: IBusinessUnit, service_name: str, capture_bucket: s3.IBucket | None
) -> list[iam.PolicyStatement]:
    """Return what pods of a service may do.

    Args:
        business_unit: The unit; gives bucket and key.
        service_name: Name of the service.
        capture_bucket: Bucket of captures; None without capture.
    """
    models = business_unit.artifacts.arn_for_objects(f"models/{service_name}/*")
    found = [iam.PolicyStatement(actions=["s3:GetObject"], resources=[models])]
    if capture_bucket is None:
        found.append(key_statement(business_unit.key, services=["s3"], actions=["kms:Decrypt"]))
    else:
        found.append(key_statement(business_unit.key, services=["s3"]))
        captures = capture_bucket.arn_for_objects(f"{CAPTURE_PREFIX}/{service_name}/*")
        found.append(iam.PolicyStatement(actions=["s3:PutObject"], resources=[captures]))
    return found


def define_association(
    scope: Construct,
    id: str,
    *,
    cluster: EksCluster,
    namespace: str,
    service_account: str,
    role: iam.IRole,
    statements: Sequence[iam.PolicyStatement],
) -> eks.CfnPodIdentityAssociation:
    """Define which pods take the role on, with a session policy: whatever else is granted to the role, they get no more.

    A session policy and session tags exclude each other, so that the role's trust names the cluster and not the namespace: tags
    that are not sent would lock every pod out.

    See: https://docs.aws.amazon.com/eks/latest/APIReference/API_CreatePodIdentityAssociation.html (policy)

    Args:
        scope: Parent.
        id: Construct id.
        cluster: The cluster.
        namespace: Namespace of the pods.
        service_account: Their account.
        role: The role.
        statements: What a session may do.
    """
    document = iam.PolicyDocument(statements=list(statements), minimize=True)
    association = eks.CfnPodIdentityAssociation(
        scope,
        id,
        cluster_name=cluster.name,
        namespace=namespace,
        service_account=service_account,
        role_arn=role.role_arn,
        disable_session_tags=True,
        policy=cdk.Stack.of(scope).to_json_string(document),
    )
    association.node.add_dependency(role)
    return association
