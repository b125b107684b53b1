"""The functions that bring manifests to a cluster, and the access entries that say how far each may go."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from constructs import Construct
from mlops_constructs._function import define_custom_resource, define_function
from mlops_constructs._iam import key_statement, shared_policy
from mlops_constructs.eks_inference.cluster import EksCluster
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts import canonical_json
from mlops_runtime.eks.kubernetes_objects import Manifest, Ref

RESOURCE_TYPE = "Custom::MLOpsManifests"
_TIMEOUT = cdk.Duration.minutes(10)
_ADMIN = "AmazonEKSClusterAdminPolicy"
_VIEW = "AmazonEKSViewPolicy"
_ENTRY_REASON = (
    "EKS numbers access entries when they are made, below the name of the function's own role; rejected: an entry that stands in "
    "the stack and makes the function an administrator for good"
)


def define_applier(scope: Construct, id: str, *, business_unit: IBusinessUnit, cluster: EksCluster) -> lambda_.Function:
    """Define the function that applies what belongs into the unit's namespace, with the access that its entry gives it.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
        cluster: The cluster.
    """
    return define_function(
        scope,
        id,
        business_unit=business_unit,
        folder="eks_manifests",
        description=f"Applies manifests of {business_unit.name} to its namespace",
        environment={},
        statements=[describe_statement(cluster)],
        timeout=_TIMEOUT,
    )


def define_bootstrap(
    scope: Construct, id: str, *, business_unit: IBusinessUnit, cluster: EksCluster
) -> lambda_.Function:
    """Define the function that makes the unit's place on the cluster: administrator while it works, and not a moment longer.

    It may make an access entry for its own role alone, and give it that one policy.

    See: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelastickubernetesservice.html

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
        cluster: The cluster.
    """
    stack, audit = cdk.Stack.of(scope), business_unit.audit_bucket
    policy_arn = access_policy_arn(_ADMIN)
    function = define_function(
        scope,
        id,
        business_unit=business_unit,
        folder="eks_manifests",
        description=f"Makes the namespace of {business_unit.name}, as administrator while it works",
        environment={"ADMIN_POLICY_ARN": policy_arn, "AUDIT_BUCKET": audit.bucket_name},
        statements=[
            describe_statement(cluster),
            iam.PolicyStatement(
                actions=["s3:PutObject"], resources=[audit.arn_for_objects(f"access/{cluster.name}/*")]
            ),
            key_statement(business_unit.key, services=["s3"]),
        ],
        timeout=_TIMEOUT,
        wildcard_reason="records of its access are named by request, below the cluster's own prefix; rejected: one object for all",
    )
    role = _role(function)
    function.add_environment("PRINCIPAL_ARN", role.role_arn)
    entries = stack.format_arn(
        service="eks",
        resource="access-entry",
        resource_name=f"{cluster.name}/role/{stack.account}/{role.role_name}/*",
    )
    policy = shared_policy(
        scope,
        f"{id}Access",
        description=f"Access of an administrator to {cluster.name}, for the function's own role while it works",
        wildcard_reason=_ENTRY_REASON,
        statements=[
            iam.PolicyStatement(
                actions=["eks:CreateAccessEntry"],
                resources=[cluster.arn],
                conditions={"StringEquals": {"eks:principalArn": role.role_arn}},
            ),
            iam.PolicyStatement(
                actions=["eks:AssociateAccessPolicy"],
                resources=[entries],
                conditions={"StringEquals": {"eks:policyArn": policy_arn}},
            ),
            iam.PolicyStatement(actions=["eks:DeleteAccessEntry", "eks:DescribeAccessEntry"], resources=[entries]),
        ],
    )
    policy.attach_to_role(role)
    function.node.add_dependency(policy)
    return function


def define_manifests(
    scope: Construct,
    id: str,
    *,
    function: lambda_.Function,
    cluster: EksCluster,
    name: str,
    manifests: Sequence[Manifest],
    owned: Sequence[Ref] = (),
    requires: Sequence[str] = (),
) -> cdk.CustomResource:
    """Define the resource whose manifests a function applies, and deletes with it.

    Args:
        scope: Parent.
        id: Construct id.
        function: The function.
        cluster: The cluster.
        name: What the manifests are of; another name is another resource.
        manifests: The manifests.
        owned: What else goes with the resource, and in which order. Default: nothing.
        requires: What the cluster must have (``mlops_runtime.eks.cluster_requirements``). Default: nothing.
    """
    resource = define_custom_resource(
        scope,
        id,
        function=function,
        resource_type=RESOURCE_TYPE,
        properties={
            "ClusterName": cluster.name,
            "AutoMode": str(cluster.auto_mode).lower(),
            "Name": name,
            **({"Requires": canonical_json(list(requires)).decode()} if requires else {}),
            "Manifests": canonical_json(list(manifests)).decode(),
            "Owned": canonical_json([[r.api_version, r.kind, r.namespace, r.name] for r in owned]).decode(),
        },
    )
    # a delete needs the role, its policies and its way to the cluster until the last
    resource.node.add_dependency(_role(function))
    return resource


def define_writer(
    scope: Construct, id: str, *, cluster: EksCluster, function: lambda_.IFunction, group: str
) -> eks.CfnAccessEntry:
    """Define the access entry of a function that applies manifests: a group of the tenant's, whose Role ends at its namespace.

    Args:
        scope: Parent.
        id: Construct id.
        cluster: The cluster.
        function: The function.
        group: The Kubernetes group.
    """
    return eks.CfnAccessEntry(
        scope,
        id,
        cluster_name=cluster.name,
        principal_arn=_role(function).role_arn,
        kubernetes_groups=[group],
        type="STANDARD",
    )


def define_reader(
    scope: Construct, id: str, *, cluster: EksCluster, function: lambda_.IFunction, namespace: str
) -> eks.CfnAccessEntry:
    """Define the access entry of a function that looks at a namespace and changes nothing.

    Args:
        scope: Parent.
        id: Construct id.
        cluster: The cluster.
        function: The function.
        namespace: The namespace.
    """
    return eks.CfnAccessEntry(
        scope,
        id,
        cluster_name=cluster.name,
        principal_arn=_role(function).role_arn,
        type="STANDARD",
        access_policies=[
            eks.CfnAccessEntry.AccessPolicyProperty(
                policy_arn=access_policy_arn(_VIEW),
                access_scope=eks.CfnAccessEntry.AccessScopeProperty(type="namespace", namespaces=[namespace]),
            )
        ],
    )


def describe_statement(cluster: EksCluster) -> iam.PolicyStatement:
    """Return the right to read where a cluster's API is."""
    return iam.PolicyStatement(actions=["eks:DescribeCluster"], resources=[cluster.arn])


def access_policy_arn(name: str) -> str:
    """Return the ARN of one of EKS' own access policies.

    See: https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html
    """
    return f"arn:{cdk.Aws.PARTITION}:eks::aws:cluster-access-policy/{name}"


def _role(function: lambda_.IFunction) -> iam.IRole:
    if function.role is None:
        raise TypeError("a function that asks a cluster has a role of the stack")
    return function.role
