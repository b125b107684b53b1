"""Manifests of a unit: rendered as YAML, and applied to the cluster by a custom resource."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import aws_cdk as cdk
import yaml
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3_assets as s3_assets

from constructs import Construct
from mlops_constructs._assets import text_file
from mlops_constructs._functions import define_custom_resource, define_function, role_of
from mlops_constructs._roles import allow, key_statement, shared_policy
from mlops_constructs._stack_values import stack_values
from mlops_constructs.eks_inference.eks_cluster import EksCluster
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts import canonical_json
from mlops_runtime.eks.kubernetes_objects import Manifest, Ref

# words without quotes: they start with a letter, unlike numbers, and are longer than y or n, which are booleans in YAML 1.1
_WORD = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]+", re.ASCII)

RESOURCE_TYPE = "Custom::MLOpsManifests"
_TIMEOUT = cdk.Duration.minutes(10)
_ADMIN = "AmazonEKSClusterAdminPolicy"
_VIEW = "AmazonEKSViewPolicy"
_ENTRY_REASON = (
    "EKS numbers access entries when they are created, below the name of the function's own role; rejected: an entry in the "
    "stack, which would make the function an administrator permanently"
)


def render_yaml(manifests: Sequence[Mapping[str, Any]]) -> str:
    r"""Return manifests as one YAML stream, in their order.

    Keys keep their order, there are no anchors, and strings are quoted unless they are words: Kubernetes' parser reads a hash like
    ``12e4567`` as a number where PyYAML does not.

    Args:
        manifests: Values of plain types, as in ``mlops_runtime.eks``.

    Raises:
        yaml.representer.RepresenterError: If a value is not of a plain type.

    Example:
        >>> print(render_yaml([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "on"}}]), end="")
        ---
        apiVersion: v1
        kind: Namespace
        metadata:
          name: 'on'
    """
    return yaml.dump_all(
        manifests,
        Dumper=_Dumper,
        explicit_start=True,
        sort_keys=False,
        default_flow_style=False,
        width=10_000,
    )


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML passes it
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if _WORD.fullmatch(data) else "'")


_Dumper.add_representer(str, _Dumper.represent_text)


def define_file(scope: Construct, id: str, *, manifests: Sequence[Manifest]) -> s3_assets.Asset:
    """Define an asset of a YAML file with manifests without tokens; equal manifests result in equal bytes."""
    return s3_assets.Asset(scope, id, path=str(text_file("manifests.yaml", render_yaml(manifests))))


def define_applier(scope: Construct, id: str, *, business_unit: IBusinessUnit, cluster: EksCluster) -> lambda_.Function:
    """Define the function that applies manifests to the unit's namespace, as its access entry allows."""
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
    """Define the function that prepares the unit's namespace. It is cluster administrator only while it runs.

    It may only create an access entry for its own role, with that one access policy.

    See: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelastickubernetesservice.html
    """
    stack, audit = stack_values(scope), business_unit.audit_bucket
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
            allow("s3:PutObject", audit.arn_for_objects(f"access/{cluster.name}/*")),
            key_statement(business_unit.key, services=["s3"]),
        ],
        timeout=_TIMEOUT,
        wildcard_reason="records of its access are named by request, below the cluster's own prefix; rejected: one object for all",
    )
    role = role_of(function)
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
            allow(
                "eks:CreateAccessEntry", cluster.arn, conditions={"StringEquals": {"eks:principalArn": role.role_arn}}
            ),
            allow("eks:AssociateAccessPolicy", entries, conditions={"StringEquals": {"eks:policyArn": policy_arn}}),
            allow(["eks:DeleteAccessEntry", "eks:DescribeAccessEntry"], entries),
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
    """Define the custom resource with manifests that a function applies, and deletes with the resource.

    Args:
        scope: Parent.
        id: Construct id.
        name: Name of the owner of the manifests; another name replaces the resource.
        owned: Further objects to delete with the resource, in this order. Default: none.
        requires: Requirements of the cluster (``mlops_runtime.eks.cluster_requirements``). Default: none.
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
    # a deletion needs the role, its policies and network access to the cluster until its end
    resource.node.add_dependency(role_of(function))
    return resource


def define_writer(
    scope: Construct, id: str, *, cluster: EksCluster, function: lambda_.IFunction, group: str
) -> eks.CfnAccessEntry:
    """Define the access entry of a function that applies manifests: a group of the tenant, with a Role in its namespace only."""
    return eks.CfnAccessEntry(
        scope,
        id,
        cluster_name=cluster.name,
        principal_arn=role_of(function).role_arn,
        kubernetes_groups=[group],
        type="STANDARD",
    )


def define_reader(
    scope: Construct, id: str, *, cluster: EksCluster, function: lambda_.IFunction, namespace: str
) -> eks.CfnAccessEntry:
    """Define the access entry of a function with read access to a namespace."""
    return eks.CfnAccessEntry(
        scope,
        id,
        cluster_name=cluster.name,
        principal_arn=role_of(function).role_arn,
        type="STANDARD",
        access_policies=[
            eks.CfnAccessEntry.AccessPolicyProperty(
                policy_arn=access_policy_arn(_VIEW),
                access_scope=eks.CfnAccessEntry.AccessScopeProperty(type="namespace", namespaces=[namespace]),
            )
        ],
    )


def describe_statement(cluster: EksCluster) -> iam.PolicyStatement:
    """Return the permission to read a cluster's API endpoint."""
    return allow("eks:DescribeCluster", cluster.arn)


def access_policy_arn(name: str) -> str:
    """Return the ARN of an access policy of EKS.

    See: https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html
    """
    return f"arn:{cdk.Aws.PARTITION}:eks::aws:cluster-access-policy/{name}"
