"""A unit's namespace on the embedded cloud's cluster: created from files, adopted by the stack, deleted with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
import yaml
from examples.retail.demo_eks import create_cluster

from mlops_constructs import (
    Bootstrap,
    BusinessUnit,
    Delivery,
    EksCluster,
    EksInferenceService,
    EksTenant,
    ModelRegistry,
    Network,
    Profile,
)
from mlops_local.stacks import deployer
from mlops_runtime.eks.kubernetes_objects import Ref
from mlops_runtime.eks.manifest_apply import apply

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_local.cloud import Cloud

pytestmark = [pytest.mark.cloud, pytest.mark.campaign]

POLICY = Ref(api_version="networking.k8s.io/v1", kind="NetworkPolicy", namespace="depot", name="depot-stock")
SETTING = Ref(api_version="v1", kind="ConfigMap", namespace="kube-system", name="amazon-vpc-cni")
NAMESPACE = Ref(api_version="v1", kind="Namespace", name="depot")


def synthesize(folder: Path, group: str, *, egress: str, is_ours: bool) -> Path:
    """Synthesize a unit with a service, whose manifests the stack or others apply."""
    stack = cdk.Stack(app := cdk.App(outdir=str(folder)), "Depot")
    unit = BusinessUnit(
        stack,
        "Unit",
        name="depot",
        profile=Profile.DEVELOPMENT,
        network=Network.create(availability_zones=2, endpoints=[]),
    )
    cluster = EksCluster.from_cluster_attributes(
        stack,
        "Cluster",
        name="depots",
        security_group_id=group,
        subnet_cidrs=["10.0.0.0/17", "10.0.128.0/17"],
        egress_cidrs=[egress],
    )
    tenant = EksTenant(
        stack,
        "Tenant",
        business_unit=unit,
        cluster=cluster,
        bootstrap=Bootstrap.function() if is_ours else Bootstrap.yaml(),
    )
    EksInferenceService(
        stack,
        "Service",
        tenant=tenant,
        registry=ModelRegistry(stack, "Registry", business_unit=unit, name="stock"),
        name="stock",
        delivery=Delivery.server_side_apply() if is_ours else Delivery.git_ops(),
    )
    cdk.CfnOutput(stack, "AuditBucket", value=unit.audit_bucket.bucket_name)
    app.synth()
    return folder


def _egress(policy: Any) -> list[str]:
    return [block["ipBlock"]["cidr"] for block in policy["spec"]["egress"][-1]["to"]]


def _principals(cloud: Cloud) -> list[str]:
    found = cloud.client("eks").list_access_entries(clusterName="depots")["accessEntries"]
    return sorted(principal.rpartition("/")[2].rpartition("Role")[0] for principal in found if ":role/" in principal)


def test_a_place_passes_from_files_to_the_stack_and_goes_with_it(cloud: Cloud, tmp_path: Path) -> None:
    """The same field manager adopts what others applied from files; only what the stack created is deleted."""
    made = create_cluster(cloud, "depots")
    theirs = synthesize(tmp_path / "theirs", made.security_group_id, egress="0.0.0.0/0", is_ours=False)
    files = [list(yaml.safe_load_all(file.read_text())) for file in theirs.glob("asset.*.yaml")]
    # a platform team's file is applied before a repository's
    for manifests in sorted(files, key=len, reverse=True):
        apply(made.cluster, manifests)
    deployer.deploy(cloud, theirs)

    appliers = [
        "Depot-ServiceRolloutPreflight",
        "Depot-ServiceRolloutRecord",
        "Depot-ServiceSlot",
        "Depot-TenantApplier",
    ]
    assert _principals(cloud) == appliers
    assert _egress(made.cluster.get(POLICY)) == ["0.0.0.0/0"]

    ours = synthesize(tmp_path / "ours", made.security_group_id, egress="10.0.0.0/16", is_ours=True)
    outputs = deployer.deploy(cloud, ours)["Depot"]

    assert _egress(made.cluster.get(POLICY)) == ["10.0.0.0/16"]
    # the record shows the temporary administrator
    assert _principals(cloud) == appliers
    s3 = cloud.client("s3")
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=outputs["AuditBucket"], Prefix="access/depots/")["Contents"]]
    records = [json.loads(s3.get_object(Bucket=outputs["AuditBucket"], Key=key)["Body"].read()) for key in keys]
    assert [record["event"] for record in records] == ["GRANTED", "REMOVED"]
    assert {record["principal"].rpartition("/")[2].rpartition("Role")[0] for record in records} == {
        "Depot-TenantBootstrap"
    }

    deployer.destroy(cloud, ours)

    assert made.cluster.get(NAMESPACE) is None
    assert made.cluster.get(SETTING) is not None
    assert _principals(cloud) == []
