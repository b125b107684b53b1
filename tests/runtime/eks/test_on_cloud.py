"""Manifests and client on a cluster of the embedded cloud, which implements access entries, RBAC and field managers."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from tests.runtime.eks.samples import SPEC, TENANT, VERSION, with_eks

from mlops_local.cloud import Cloud
from mlops_runtime.contracts.serving import SlotVersion
from mlops_runtime.eks.cluster_client import Cluster, ClusterError, ConflictError
from mlops_runtime.eks.kubernetes_objects import Manifest, Ref, deployment_ref, ref, scaler_ref
from mlops_runtime.eks.manifest_apply import apply, remove
from mlops_runtime.eks.manifests import read_slot, service_manifests, slot_manifests
from mlops_runtime.eks.tenant import enforcement_manifest, tenant_manifests

pytestmark = pytest.mark.cloud
_NAME = "manifests"
# no runner has the image, so no process is started: these tests concern the API
_VERSION = replace(VERSION, image="000000000000.dkr.ecr.us-east-1.amazonaws.com/nothing@sha256:" + "a" * 64)
# responds to /ping without a model
_SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""
_WHERE = {"namespace": TENANT.namespace, "endpoint": SPEC.endpoint, "slot": "blue"}


@dataclass(frozen=True)
class _Sides:
    """The cluster as its creator and as a tenant's applier see it."""

    admin: Cluster
    applier: Cluster


@pytest.fixture(scope="module")
def sides(cloud: Cloud) -> Iterator[_Sides]:
    """Create a cluster with a tenant, and a role whose access entry has the tenant's group."""
    iam, eks, sts = cloud.client("iam"), cloud.client("eks"), cloud.client("sts")
    arns = {}
    trusted = {"cluster": {"Service": "eks.amazonaws.com"}, "applier": {"AWS": "arn:aws:iam::000000000000:root"}}
    for name, principal in trusted.items():
        statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        made = iam.create_role(RoleName=f"{_NAME}-{name}", AssumeRolePolicyDocument=document)
        arns[name] = made["Role"]["Arn"]
    allow = {"Effect": "Allow", "Action": "eks:DescribeCluster", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_role_policy(RoleName=f"{_NAME}-applier", PolicyName="describe", PolicyDocument=policy)
    eks.create_cluster(
        name=_NAME,
        roleArn=arns["cluster"],
        resourcesVpcConfig={"endpointPrivateAccess": True},
        accessConfig={"authenticationMode": "API"},
        computeConfig={"enabled": True},
        kubernetesNetworkConfig={"elasticLoadBalancing": {"enabled": True}},
        storageConfig={"blockStorage": {"enabled": True}},
    )
    eks.create_access_entry(clusterName=_NAME, principalArn=arns["applier"], kubernetesGroups=[TENANT.applier_group])
    keys = sts.assume_role(RoleArn=arns["applier"], RoleSessionName="tests")["Credentials"]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.environment().items():
            patch.setenv(name, value)
        applier = boto3.Session(
            keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region_name="us-east-1"
        )
        sides = _Sides(admin=Cluster.connect(boto3.Session(), _NAME), applier=Cluster.connect(applier, _NAME))
        apply(sides.admin, [*tenant_manifests(TENANT), enforcement_manifest()])
        yield sides
    eks.delete_cluster(name=_NAME)


def _live(cluster: Cluster, reference: Ref) -> Manifest:
    found = cluster.get(reference)
    assert found is not None
    return found


def test_the_applier_applies_a_service_and_nothing_else(sides: _Sides) -> None:
    """The tenant's Role covers exactly these objects."""
    applied = apply(sides.applier, [*service_manifests(SPEC), *slot_manifests(SPEC, "green", None, replicas="idle")])

    assert [reference.kind for reference in applied.objects] == [
        "ServiceAccount",
        "NetworkPolicy",
        "Service",
        "TargetGroupBinding",
    ]
    for manifest in (tenant_manifests(TENANT)[1], enforcement_manifest()):
        with pytest.raises(ClusterError, match="add the applier's group to this role's access entry") as error:
            sides.applier.apply(manifest)
        assert error.value.status == 403


@pytest.mark.parametrize("api", ["eks.amazonaws.com/v1", "elbv2.k8s.aws/v1beta1"])
def test_a_slot_serves_rests_and_serves_again(sides: _Sides, wait_for: Callable[..., Any], api: str) -> None:
    """The autoscaler takes over the number of pods without a conflict."""
    spec = with_eks(binding_api=api, minimum=2)
    serving = slot_manifests(spec, "blue", _VERSION)
    deployment, scaler = deployment_ref(**_WHERE), scaler_ref(**_WHERE)
    apply(sides.applier, serving)
    assert _live(sides.applier, deployment)["spec"]["replicas"] == 2
    more = slot_manifests(with_eks(binding_api=api, minimum=3), "blue", _VERSION)
    apply(sides.applier, more)
    wait_for(lambda: _live(sides.applier, deployment)["spec"]["replicas"] == 3)
    owners = [entry["manager"] for entry in _live(sides.applier, deployment)["metadata"]["managedFields"]]
    assert "mlops-constructs" in owners

    applied = apply(sides.applier, slot_manifests(spec, "blue", _VERSION, replicas="idle"))
    assert applied.removed == (scaler,)
    assert sides.applier.get(scaler) is None
    state = read_slot(sides.applier.get(deployment), "blue")
    assert (state.version, state.desired) == (_VERSION, 0)

    apply(sides.applier, serving)
    assert _live(sides.applier, deployment)["spec"]["replicas"] == 2
    # the autoscaler has written its status of these pods, and does not write again
    wait_for(lambda: (_live(sides.applier, scaler).get("status") or {}).get("currentReplicas") == 2)
    before = _live(sides.applier, scaler)["metadata"]["resourceVersion"]
    apply(sides.applier, serving)
    assert _live(sides.applier, scaler)["metadata"]["resourceVersion"] == before
    assert len(remove(sides.applier, [ref(manifest) for manifest in serving])) == len(serving)
    assert sides.applier.get(deployment) is None


def test_why_a_slot_has_no_pods_is_read(sides: _Sides, wait_for: Callable[..., Any]) -> None:
    """The tenant's quota error is in the cluster's words."""
    large = slot_manifests(with_eks(cpu="65"), "blue", _VERSION)
    apply(sides.applier, large)
    state = wait_for(
        lambda: (
            (found := read_slot(sides.applier.get(deployment_ref(**_WHERE)), "blue")).reason.find("quota") >= 0
            and found
        )
    )

    assert (state.desired, state.ready) == (2, 0)
    remove(sides.applier, [ref(manifest) for manifest in large])


def test_a_field_of_somebody_else_keeps_everything_as_it_is(sides: _Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by the dry run; nothing of the slot is created."""
    made = slot_manifests(SPEC, "green", _VERSION, replicas="idle")
    service = made[0]
    sides.admin.delete(ref(service))
    with monkeypatch.context() as patch:
        patch.setattr("mlops_runtime.eks.cluster_client.FIELD_MANAGER", "kubectl-edit")
        other = {"app.kubernetes.io/name": "other"}
        sides.admin.apply({**service, "spec": {**service["spec"], "selector": other}})

    with pytest.raises(ConflictError, match=r"\.spec\.selector.* is managed by 'kubectl-edit'"):
        apply(sides.applier, made)
    assert sides.applier.get(deployment_ref(**{**_WHERE, "slot": "green"})) is None


@pytest.fixture
def group(cloud: Cloud) -> Iterator[str]:
    """Return a slot's target group behind a load balancer in two zones; the cluster has nodes in three."""
    elb, tags = cloud.client("elbv2"), [{"Key": "eks:eks-cluster-name", "Value": _NAME}]
    made = elb.create_target_group(
        Name=_NAME, Protocol="HTTP", Port=8080, TargetType="ip", VpcId="vpc-1", HealthCheckPath="/ping", Tags=tags
    )
    arn = str(made["TargetGroups"][0]["TargetGroupArn"])
    subnets = ["subnet-00000001", "subnet-00000002"]
    balancer = elb.create_load_balancer(Name=_NAME, Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    actions = [{"Type": "forward", "TargetGroupArn": arn}]
    elb.create_listener(LoadBalancerArn=balancer, Port=80, Protocol="HTTP", DefaultActions=actions)
    yield arn
    elb.delete_load_balancer(LoadBalancerArn=balancer)
    elb.delete_target_group(TargetGroupArn=arn)


def _model(cloud: Cloud, models: Any, folder: Path) -> SlotVersion:
    """Upload a model readable by the pods' role; return its version."""
    archive = models.archive(folder / "model.tar.gz")
    cloud.client("s3").create_bucket(Bucket=f"{_NAME}-artifacts")
    cloud.client("s3").put_object(Bucket=f"{_NAME}-artifacts", Key="model.tar.gz", Body=archive.read_bytes())
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "pods.eks.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = cloud.client("iam").create_role(RoleName=f"{_NAME}-pod", AssumeRolePolicyDocument=document)["Role"]
    read = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{_NAME}-artifacts/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [read]})
    cloud.client("iam").put_role_policy(RoleName=f"{_NAME}-pod", PolicyName="read", PolicyDocument=policy)
    cloud.client("eks").create_pod_identity_association(
        clusterName=_NAME, namespace=TENANT.namespace, serviceAccount="forecast", roleArn=role["Arn"]
    )
    return replace(
        VERSION,
        image="000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "a" * 64,
        artifact_uri=f"s3://{_NAME}-artifacts/model.tar.gz",
        artifact_sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
        environment={"MLOPS_MODEL_SHA256": hashlib.sha256(models.onnx()).hexdigest()},
    )


def test_a_slots_pods_fetch_their_model_and_serve_it_in_the_balancers_zones(
    sides: _Sides, cloud: Cloud, wait_for: Callable[..., Any], models: Any, tmp_path: Path, group: str
) -> None:
    """The complete pod with init container, probes, identity, zones and readiness gate returns the model's prediction."""
    version = _model(cloud, models, tmp_path)
    zones, groups = ("us-east-1a", "us-east-1b"), {"blue": group, "green": f"{group}0"}
    spec = with_eks(minimum=3, zones=zones, target_groups=groups)
    made = slot_manifests(spec, "blue", version)
    apply(sides.applier, [*service_manifests(spec), *made])
    state = wait_for(
        lambda: (found := read_slot(sides.applier.get(deployment_ref(**_WHERE)), "blue")).ready == 3 and found,
        seconds=120,
    )

    assert (state.version, state.desired, state.updated) == (version, 3, 3)
    clusters = cloud.call("/_mlops/clusters")["clusters"]
    pods = next(row["pods"] for row in clusters if row["name"] == _NAME)
    port = next(pod["port"] for pod in pods if pod["name"].startswith("demand-forecast-blue-") and pod["ready"])
    row = {"content-type": "text/csv", "accept": "text/csv"}
    answer = httpx.post(f"http://127.0.0.1:{port}/invocations", content="1.5,2,north", headers=row)
    assert (answer.status_code, float(answer.text)) == (200, 4.0)  # 2 x price + stock / 2 + 10 x store
    remove(sides.applier, [ref(manifest) for manifest in made])


def test_a_pod_outside_of_the_balancers_zones_never_gets_ready(
    sides: _Sides, cloud: Cloud, wait_for: Callable[..., Any], group: str
) -> None:
    """Without zones in its spec the third pod is in the third zone: its target state is Target.NotInUse."""
    version = replace(_VERSION, image="000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "a" * 64)
    spec = with_eks(minimum=3, target_groups={"blue": group, "green": f"{group}0"})
    made = slot_manifests(spec, "blue", version)
    (deployment,) = [manifest for manifest in made if manifest["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    pod.pop("initContainers")
    pod["containers"][0] |= {"command": ["python", "-c", _SERVER], "args": []}
    for manifest in [*service_manifests(spec), *made]:
        sides.applier.apply(manifest)
    elb = cloud.client("elbv2")

    def health() -> list[tuple[str, str | None]]:
        rows = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return sorted((row["TargetHealth"]["State"], row["TargetHealth"].get("Reason")) for row in rows)

    wait_for(lambda: health() == [("healthy", None), ("healthy", None), ("unused", "Target.NotInUse")], seconds=120)
    wait_for(lambda: read_slot(sides.applier.get(deployment_ref(**_WHERE)), "blue").ready == 2)
    remove(sides.applier, [ref(manifest) for manifest in made])
