"""A unit's namespace on a cluster, in a template."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
import yaml

from mlops_constructs import (
    Bootstrap,
    BusinessUnit,
    EksCapacity,
    EksCluster,
    EksTenant,
    Network,
    TenantQuota,
    ValidationError,
)

ADMIN = "AmazonEKSClusterAdminPolicy"


def test_the_place_is_made_by_the_bootstrap_function(served: Any) -> None:
    """Creates the namespace first and the cluster's setting last; the applier's entry follows, as it needs the Role."""
    place = served.resources("Custom::MLOpsManifests")["TenantPlace3BA58AB2"]
    manifests = json.loads(place["Properties"]["Manifests"])
    assert [m["kind"] for m in manifests] == [
        "Namespace",
        "ResourceQuota",
        "LimitRange",
        "NetworkPolicy",
        "Role",
        "RoleBinding",
        "Role",
        "RoleBinding",
        "ConfigMap",
    ]
    assert (place["Properties"]["AutoMode"], json.loads(place["Properties"]["Requires"])) == ("true", ["metrics"])
    groups = [m["subjects"][0]["name"] for m in manifests if m["kind"] == "RoleBinding"]
    assert groups == ["mlops:demand", "mlops:demand:slots"]
    assert place["Properties"]["ServiceToken"]["Fn::GetAtt"][0].startswith("TenantBootstrap")
    (entry,) = (r for name, r in served.resources("AWS::EKS::AccessEntry").items() if "ApplierEntry" in name)
    assert "TenantPlace3BA58AB2" in entry["DependsOn"]


def test_a_development_units_audit_bucket_is_emptied_after_the_last_record(changed: Any) -> None:
    """On deletion the bootstrap function becomes administrator again and records it."""
    resource = changed.resources("Custom::MLOpsManifests")["TenantPlace3BA58AB2"]
    assert {name[:-8] for name in resource["DependsOn"]} >= {"UnitAudit", "UnitAuditSweep"}


def _entries(served: Any) -> dict[str, Any]:
    return {name: r["Properties"] for name, r in served.resources("AWS::EKS::AccessEntry").items()}


def test_no_access_entry_of_the_stack_reaches_beyond_the_namespace(served: Any) -> None:
    """Applier and slot function have separate groups, readers a policy limited to the namespace; no role has two of them."""
    entries = [r["Properties"] for r in served.resources("AWS::EKS::AccessEntry").values()]
    groups = {name[:-8]: e["KubernetesGroups"] for name, e in _entries(served).items() if "AccessPolicies" not in e}
    assert groups == {"TenantApplierEntry": ["mlops:demand"], "ServiceSlotEntry": ["mlops:demand:slots"]}
    readers = [e for e in entries if "AccessPolicies" in e and "KubernetesGroups" not in e]
    assert (len(readers), len(entries)) == (2, 4)
    for entry in readers:
        (policy,) = entry["AccessPolicies"]
        assert policy["AccessScope"] == {"Type": "namespace", "Namespaces": ["demand"]}
        assert policy["PolicyArn"]["Fn::Join"][1][-1].endswith("/AmazonEKSViewPolicy")


def test_only_the_bootstrap_function_knows_the_administrators_policy(served: Any) -> None:
    """Its environment and the only policy that lets it assign the administrator policy name it."""
    found = [name for name, r in served.template["Resources"].items() if ADMIN in json.dumps(r)]
    assert {name[:-8] for name in found} == {"TenantBootstrap", "TenantBootstrapAccess"}


def test_the_bootstrap_function_is_administrator_through_itself_alone(served: Any) -> None:
    """It creates an access entry for its own role with that one policy, and changes no other entry."""
    create, associate, rest = served.statements("TenantBootstrapAccess")
    assert create["Action"] == "eks:CreateAccessEntry"
    (principal,) = create["Condition"]["StringEquals"].items()
    assert principal[0] == "eks:principalArn"
    assert principal[1]["Fn::GetAtt"][0].startswith("TenantBootstrapRole")
    assert create["Resource"]["Fn::Join"][1][-1] == ":cluster/retail"
    assert associate["Action"] == "eks:AssociateAccessPolicy"
    assert ADMIN in json.dumps(associate["Condition"]["StringEquals"]["eks:policyArn"])
    assert rest["Action"] == ["eks:DeleteAccessEntry", "eks:DescribeAccessEntry"]
    for statement in (associate, rest):
        assert [part for part in statement["Resource"]["Fn::Join"][1] if isinstance(part, str)][-1] == "/*"
        assert ":access-entry/retail/role/" in json.dumps(statement["Resource"])


def test_its_access_is_on_the_record(served: Any) -> None:
    """Records are in one prefix of the audit bucket, which is locked for a year."""
    (where,) = served.allowed("TenantBootstrapRolePolicy")["s3:PutObject"]
    assert where["Fn::Join"][1][0]["Fn::GetAtt"][0].startswith("UnitAudit")
    assert where["Fn::Join"][1][-1] == "/access/retail/*"


def test_the_applier_may_find_the_cluster_and_nothing_else(served: Any) -> None:
    """Its access entry defines what it may apply."""
    own = {"kms:Decrypt", "kms:GenerateDataKey", "logs:CreateLogStream", "logs:PutLogEvents", "sqs:SendMessage"}
    assert set(served.allowed("TenantApplierRolePolicy")) - own == {"eks:DescribeCluster"}


def test_a_made_network_reaches_what_functions_ask(served: Any) -> None:
    """Adds two interface endpoints; tokens are signed without a call to STS."""
    names = [
        "".join(p for p in r["Properties"]["ServiceName"]["Fn::Join"][1] if isinstance(p, str))
        for r in served.resources("AWS::EC2::VPCEndpoint").values()
        if isinstance(r["Properties"]["ServiceName"], dict)
    ]
    assert {"com.amazonaws..eks", "com.amazonaws..elasticloadbalancing"} <= set(names)
    assert "com.amazonaws..sts" not in names


def test_without_auto_mode_the_add_ons_config_map_is_checked_and_not_written(place: Callable[..., Any]) -> None:
    """The VPC CNI add-on owns the config map: the function checks policy enforcement, and both functions the mode."""
    made = place(auto_mode=False)
    made.serve()
    (found,) = (
        r["Properties"] for n, r in made.resources("Custom::MLOpsManifests").items() if n.startswith("TenantPlace")
    )
    assert "ConfigMap" not in {manifest["kind"] for manifest in json.loads(found["Manifests"])}
    assert json.loads(found["Requires"]) == ["networkPolicies", "metrics"]
    others = [r["Properties"] for r in made.resources("Custom::MLOpsManifests").values()]
    assert {properties["AutoMode"] for properties in others} == {"false"}


def test_a_platform_team_applies_the_file(developed: Any, tmp_path: Path) -> None:
    """Without a bootstrap function the stack has no administrator; the file contains what must be applied."""
    assert ADMIN not in json.dumps(developed.template)
    assert not [name for name in developed.template["Resources"] if name.startswith("TenantBootstrap")]
    assert developed.tenant.manifests_url is not None

    app = cdk.App(outdir=str(tmp_path))
    stack = cdk.Stack(app, "S")
    unit = BusinessUnit(stack, "Unit", name="demand", network=Network.create(availability_zones=2))
    cluster = EksCluster.from_cluster_attributes(
        stack, "Cluster", name="retail", security_group_id="sg-12345678", subnet_cidrs=["10.0.0.0/16"]
    )
    tenant = EksTenant(stack, "Tenant", business_unit=unit, cluster=cluster, bootstrap=Bootstrap.yaml())
    app.synth()
    (file,) = tmp_path.glob("asset.*.yaml")
    assert list(yaml.safe_load_all(file.read_text())) == tenant.manifests


def test_fails_with_everything_that_is_wrong(place: Callable[..., Any]) -> None:
    """Rejects quantities, names and labels that no cluster accepts."""
    with pytest.raises(ValidationError) as caught:
        place(tenant={"namespace": "kube-system", "quota": TenantQuota(cpu="many", memory="1Gi", pods=0)})
    assert caught.value.code == "InvalidEksTenant"
    assert [problem.split()[0] for problem in caught.value.problems] == ["namespace", "cpu", "pods"]


def test_fails_when_the_unit_runs_in_another_network() -> None:
    """That network reaches neither the private API nor the pods."""
    stack = cdk.Stack(cdk.App(), "S")
    network = Network.from_shared_vpc(
        vpc_id="vpc-11111111", availability_zones=["a", "b"], subnet_ids=["subnet-1", "subnet-2"]
    )
    unit = BusinessUnit(stack, "Unit", name="demand", network=network)
    cluster = EksCluster.from_cluster_attributes(
        stack,
        "Cluster",
        name="retail",
        security_group_id="sg-12345678",
        subnet_cidrs=["10.0.0.0/16"],
        vpc_id="vpc-22222222",
    )
    with pytest.raises(ValidationError, match=r"must run in the cluster's network 'vpc-22222222', got 'vpc-11111111'"):
        EksTenant(stack, "Tenant", business_unit=unit, cluster=cluster)


def test_fails_when_the_quota_is_smaller_than_two_slots(place: Callable[..., Any]) -> None:
    """A rollout would wait for pods that cannot start."""
    made = place(tenant={"quota": TenantQuota(cpu="16", memory="64Gi", pods=20)})
    with pytest.raises(ValidationError) as caught:
        made.serve(capacity=EksCapacity(max_pods=9, cpu="1", memory="1Gi"))
    (problem,) = caught.value.problems
    assert problem.startswith("quota.cpu must be at least 20, got 16: demand-forecast run in two slots")


def test_fails_when_all_services_together_need_more(place: Callable[..., Any]) -> None:
    """Several services may roll out at the same time."""
    made = place(tenant={"quota": TenantQuota(cpu="16", memory="64Gi", pods=20)})
    small = EksCapacity(max_pods=4, cpu="500m", memory="1Gi")
    made.serve("One", name="one", capacity=small)
    made.serve("Two", name="two", capacity=small)
    with pytest.raises(
        ValidationError, match=r"quota\.pods must be at least 30, got 20: demand-one and demand-three and"
    ):
        made.serve("Three", name="three", capacity=small)
