"""The API in front of a service on EKS, on the embedded cloud with IAM enforced and a certificate on the load balancer."""

from __future__ import annotations

import http.client
import json
import re
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_iam as iam
from examples.retail.demo_eks import create_cluster, local_address
from examples.retail.eks_loop import EksLoop
from tests.examples import models
from tests.examples.api_door import JSON, ApiDoor
from tests.examples.test_inference_api import FORBIDDEN, GOLDEN, REFUSED, SCHEMA

from mlops_constructs import (
    BusinessUnit,
    DataCapture,
    EksCapacity,
    EksCluster,
    EksInferenceService,
    EksTenant,
    InferenceApi,
    ModelRegistry,
    Network,
    Profile,
    RequestSchema,
    RolloutPolicy,
)
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts.model import SignatureColumn
from mlops_runtime.contracts.rollout import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.cloud

NAME = "models.example.com"


def synthesize(folder: Path, group: str, certificate: str) -> Path:
    """Synthesize a unit with a service on the platform's cluster, an API, and a permitted caller."""
    app = cdk.App(outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Door")
    network = Network.create(availability_zones=2)
    unit = BusinessUnit(stack, "Unit", name="pilot", profile=Profile.DEVELOPMENT, network=network)
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="door")
    cluster = EksCluster.from_cluster_attributes(
        stack, "Cluster", name="retail", security_group_id=group, subnet_cidrs=["10.0.0.0/17", "10.0.128.0/17"]
    )
    service = EksInferenceService(
        stack,
        "Service",
        tenant=EksTenant(stack, "Tenant", business_unit=unit, cluster=cluster),
        registry=registry,
        name="door",
        capacity=EksCapacity(min_pods=1, max_pods=2),
        capture=DataCapture(sampling_percent=100),
        rollout=RolloutPolicy.all_at_once(bake=cdk.Duration.minutes(5)),
        certificate=acm.Certificate.from_certificate_arn(stack, "Certificate", certificate),
    )
    (folder / "doubled.schema.json").write_text(json.dumps(SCHEMA))
    api = InferenceApi(stack, "Api", business_unit=unit)
    request = RequestSchema.from_file(folder / "doubled.schema.json")
    api.add_model("doubled", service, request=request, max_rate=1000, server_name=NAME)
    shop = iam.Role(stack, "Shop", assumed_by=iam.AccountRootPrincipal())
    api.grant_predict(shop, "doubled")
    assert service.capture_bucket is not None
    outputs = {
        "ApiId": api.rest_api.rest_api_id,
        "ShopRole": shop.role_arn,
        "ApproverRoleArn": registry.approver_role.role_arn,
        "EndpointName": service.endpoint_name,
        "RolloutTable": service.rollout.table.table_name,
        "DeployMachineArn": service.rollout.machine.state_machine_arn,
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "AuditBucket": unit.audit_bucket.bucket_name,
        "CaptureBucket": service.capture_bucket.bucket_name,
        "RuleArn": service.load_balancer.rule_arn,
        "ServiceUrl": service.url,
        "BalancerGroup": service.load_balancer.security_group.security_group_id,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder / "cdk.out"


class Door(ApiDoor):
    """The deployed stack with a serving model."""

    def __init__(self, cloud: local_cloud.Cloud, folder: Path) -> None:
        self.cloud = cloud
        self.allow_logs()
        certificate = cloud.client("acm").request_certificate(DomainName=NAME)["CertificateArn"]
        made = create_cluster(cloud, "retail")
        self.outputs = deployer.deploy(cloud, synthesize(folder, made.security_group_id, certificate))["Door"]
        self.loop = EksLoop(
            client=cloud.client,
            outputs=self.outputs,
            unit="pilot",
            now=self.now,
            cluster=made.cluster,
            address=local_address(cloud, self.outputs["ServiceUrl"]),
        )
        self.approve(models.register(self.loop, 2.0))


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Deploy the stack and its first model; the last tests of this file block the path to it."""
    folder = tmp_path_factory.mktemp("eks_door")
    cloud = local_cloud.up(folder / "cloud", clock_scale=120.0)
    try:
        yield Door(cloud, folder)
    finally:
        local_cloud.connect(cloud.home).down(forget=True)


def test_answers_are_those_of_the_service(door: Door) -> None:
    """Golden requests get identical bytes, with the id of the call and the version that answered."""
    for body in GOLDEN:
        connection = http.client.HTTPConnection(door.loop._host, timeout=20)
        connection.request("POST", "/invocations", body, {"Content-Type": JSON, "Accept": JSON})
        direct = connection.getresponse()
        answer = door.call(body)

        assert (answer.status, answer.body) == (200, direct.read())
        assert answer.headers["content-type"] == direct.headers["content-type"]
        assert answer.headers["x-model-version"] == direct.headers["x-model-version"]
        assert re.fullmatch(r"[\w-]{15}=", answer.headers["x-inference-id"])
        connection.close()


def test_the_id_of_a_prediction_is_the_gateways(door: Door, wait_for: Callable[..., Any]) -> None:
    """A caller's own header never reaches the model; captures have the id that the caller received."""
    chosen = "01234567-89ab-cdef-0123-456789abcdef"
    answer = door.call(GOLDEN[0], x_amzn_sagemaker_inference_id=chosen)
    bucket = door.outputs["CaptureBucket"]

    def captured() -> str:
        keys = [each["Key"] for each in door.loop.s3.list_objects_v2(Bucket=bucket).get("Contents", ())]
        return "".join(door.loop.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys)

    given = answer.headers["x-inference-id"]
    text = wait_for(lambda: found if given in (found := captured()) else "")
    assert chosen not in text


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_row_is_400_and_says_nothing_of_aws(case: str, door: Door) -> None:
    """The response has only the request's problem, by the schema or in the server's own words."""
    answer = door.call(REFUSED[case])

    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    result = json.loads(answer.body)
    assert (result["title"], result["status"], bool(result["problems"])) == ("invalid_request", 400, True)
    assert not FORBIDDEN.search(answer.body)


def test_a_candidate_that_breaks_the_promise_never_gets_traffic(door: Door) -> None:
    """It needs a column that callers do not send; it is refused by name, and the live model's answers stay the same."""
    before = door.call(GOLDEN[0])
    stock = SignatureColumn(name="stock", type="number")
    door.approve(models.register(door.loop, 3.0, inputs=(*models.INPUTS, stock)), error="REFUSED")

    refusal = door.loop.audit()[-1]
    assert refusal.outcome is Outcome.REFUSED
    assert "doubled.schema.json does not require column 'stock', which the model needs; publish v2" in refusal.reason
    after = door.call(GOLDEN[0])
    assert (after.status, after.body) == (200, before.body)


def test_only_granted_callers_are_answered(door: Door) -> None:
    """Other paths of the load balancer are not part of the API."""
    answers = [door.call(GOLDEN[0], role=None), door.call(GOLDEN[0], path="/v2"), door.call(GOLDEN[0], path="/ping")]

    assert [answer.status for answer in answers] == [403, 403, 403]


def test_a_load_balancer_that_does_not_admit_the_link_is_not_reached(door: Door) -> None:
    """Only its security group admits the link; callers do not see the gateway's error."""
    ec2, group = door.cloud.client("ec2"), door.outputs["BalancerGroup"]
    rules = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    known = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
    ids = [rule["SecurityGroupRuleId"] for rule in known if not rule["IsEgress"]]
    ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=ids)
    try:
        answer = door.call(GOLDEN[0])
    finally:
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rules)

    assert (answer.status, json.loads(answer.body)["title"]) == (500, "failed")
    assert not FORBIDDEN.search(answer.body)
    assert door.call(GOLDEN[0]).status == 200


def test_a_service_without_targets_is_503(door: Door, wait_for: Callable[..., Any]) -> None:
    """Callers do not see the load balancer's own error page."""
    elb = door.cloud.client("elbv2")
    groups = elb.describe_target_groups()["TargetGroups"]
    for group in groups:
        health = elb.describe_target_health(TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"]
        targets = [row["Target"] for row in health]
        if targets:
            elb.deregister_targets(TargetGroupArn=group["TargetGroupArn"], Targets=targets)

    answer = wait_for(lambda: found if (found := door.call(GOLDEN[0])).status == 503 else None)

    assert json.loads(answer.body)["title"] == "not_served"
    assert not FORBIDDEN.search(answer.body)
