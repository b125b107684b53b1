"""The custom resource: accepted at once, repeatable, and always with a response."""

import json
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import WaiterError
from tests.runtime.rollout.world import ENDPOINT, MACHINE, ROLE, SPEC, World

from mlops_runtime.contracts import content_hash, from_json, to_dict
from mlops_runtime.contracts.rollout import AuditRecord, DeployRequest, Outcome, ServingSpec
from mlops_runtime.rollout.rollout_table import RolloutTable
from mlops_runtime.rollout.spec_resource import SpecResource

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
STACK = "arn:aws:cloudformation:us-east-1:123456789012:stack/demand/1"


class _Answers(list[dict[str, Any]]):
    """The responses sent to CloudFormation."""

    def __call__(self, event: object, **arguments: Any) -> None:
        del event
        self.append(arguments)


def _resource(world: World, **changes: Any) -> SpecResource:
    made = SpecResource(
        s3=world.s3,
        sagemaker=world.sagemaker,
        cloudwatch=world.cloudwatch,
        stepfunctions=world.stepfunctions,
        ecr=world.ecr,
        chain=world.chain,
        bucket="artifacts",
        machine_arn=MACHINE,
    )
    return replace(made, **changes)


def _event(kind: str, spec: object = SPEC, request: str = "r1", **changes: Any) -> dict[str, Any]:
    text = json.dumps(to_dict(spec)) if isinstance(spec, ServingSpec) else spec
    event = {
        "RequestType": kind,
        "ResponseURL": "https://cloudformation-custom-resource-response.s3.amazonaws.com/x",
        "StackId": STACK,
        "RequestId": request,
        "LogicalResourceId": "Spec",
        "ResourceProperties": {"ServiceToken": "arn", "Spec": text},
    }
    return event | ({} if kind == "Create" else {"PhysicalResourceId": ENDPOINT}) | changes


def _send(world: World, event: dict[str, Any], **changes: Any) -> dict[str, Any]:
    answers = _Answers()
    _resource(world, **changes).handle(event, answers)
    assert len(answers) == 1
    return answers[0]


def test_create_stores_the_spec_and_starts_the_machine(world: World) -> None:
    """The spec is the desired version, and the execution has its location."""
    answer = _send(world, _event("Create"))
    digest = content_hash(SPEC)
    uri = f"s3://artifacts/specs/demand-forecast/{digest[:32]}.json"
    assert answer == {"physical_id": ENDPOINT, "data": {"SpecUri": uri, "SpecHash": digest}}
    assert world.table.read().desired == uri
    assert world.facts(world.request("spec")).spec == SPEC
    [name] = world.executions()
    assert name.startswith(f"spec-{digest[:12]}-")
    arn = f"arn:aws:states:us-east-1:123456789012:execution:Deploy:{name}"
    request = from_json(DeployRequest, world.stepfunctions.describe_execution(executionArn=arn)["input"])
    assert (request.spec_uri, request.requested_by) == (uri, STACK)


def test_the_same_request_again_starts_nothing_new(world: World) -> None:
    """Lambda may deliver it twice."""
    assert _send(world, _event("Create")) == _send(world, _event("Create"))
    assert len(world.executions()) == 1


class _CrashError(Exception):
    pass


class _DyingTable(RolloutTable):
    def set_desired(self, uri: str) -> None:
        raise _CrashError(uri)


def test_a_crash_between_its_steps_is_made_good_by_the_retry(world: World) -> None:
    """If the spec is stored but not desired yet, the same request does the rest."""
    dying = _DyingTable(world.dynamodb, "rollout", ENDPOINT)
    assert _send(world, _event("Create"), chain=replace(world.chain, table=dying))["failure"].startswith("_CrashError")
    assert world.executions() == []
    assert "failure" not in _send(world, _event("Create"))
    assert len(world.executions()) == 1


def test_a_stack_that_rolls_back_asks_for_the_former_spec(world: World) -> None:
    """The former properties come as an update; the former spec is desired and deployed again."""
    first = _send(world, _event("Create"))["data"]["SpecUri"]
    second = _send(world, _event("Update", replace(SPEC, instance_count=4), "r2"))["data"]["SpecUri"]
    assert world.table.read().desired == second != first
    _send(world, _event("Update", SPEC, "r3"))
    assert world.table.read().desired == first
    assert len(world.executions()) == 3


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (replace(SPEC, instance_count=1), "use 2 instances"),
        (replace(SPEC, endpoint="other"), "the spec is of endpoint 'other', but this resource is of 'demand-forecast'"),
        ("{}", r"endpoint is missing"),
        ({"endpoint": "demand-forecast"}, "must be a serving spec as a JSON string, got dict"),
    ],
)
def test_fails_with_the_reason_when_the_spec_is_wrong(world: World, spec: object, message: str) -> None:
    """The stack's event has the fix; nothing is stored or started."""
    answer = _send(world, _event("Create", spec))
    assert message in answer["failure"]
    assert world.table.read().desired is None
    assert world.executions() == []


def _with_images(event: dict[str, Any], *images: object) -> dict[str, Any]:
    return {**event, "ResourceProperties": {**event["ResourceProperties"], "Images": list(images)}}


def _push(world: World) -> tuple[str, str]:
    """Push an image; return its name and its digest."""
    world.ecr.create_repository(repositoryName="mlops-runtime")
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": "sha256:" + "a" * 64}, "layers": []}
    )
    image = world.ecr.put_image(repositoryName="mlops-runtime", imageManifest=manifest, imageTag="1")["image"]
    digest = image["imageId"]["imageDigest"]
    return f"123456789012.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@{digest}", digest


def test_an_image_that_the_registry_lacks_fails_the_stack(world: World) -> None:
    """The error has the commands to build and push it; nothing is stored or started, and a retry with the image works."""
    image, digest = _push(world)
    missing = image.replace(digest, "sha256:" + "9" * 64)
    answer = _send(world, _with_images(_event("Create"), image, missing))
    assert f"image {missing} is not in its registry: repository 'mlops-runtime' does not have it" in answer["failure"]
    assert "mlops image push --repository mlops-runtime" in answer["failure"]
    assert image not in answer["failure"]
    assert world.table.read().desired is None
    assert world.executions() == []
    assert "failure" not in _send(world, _with_images(_event("Create", request="r2"), image))


def test_a_stack_rolls_back_to_an_image_that_is_gone(world: World) -> None:
    """An accepted image is accepted again, because a rollback must not fail. New images are checked."""
    image, digest = _push(world)
    assert "failure" not in _send(world, _with_images(_event("Create"), image))
    world.ecr.batch_delete_image(repositoryName="mlops-runtime", imageIds=[{"imageDigest": digest}])
    changed = _with_images(_event("Update", replace(SPEC, instance_count=4), "r2"), image)
    assert "is not in its registry" in _send(world, changed)["failure"]
    assert "failure" not in _send(world, _with_images(_event("Update", SPEC, "r3"), image))


def test_fails_when_images_are_not_names(world: World) -> None:
    """A property that this library never writes is named."""
    answer = _send(world, _with_images(_event("Create"), 3))
    assert "property Images must be a list of image names, got [3]" in answer["failure"]


def test_a_failed_create_leaves_nothing_to_delete(world: World) -> None:
    """CloudFormation then deletes the returned id: a serving endpoint of that name must survive."""
    package = world.package()
    world.version("demand-forecast-00000001", package)
    world.serve("demand-forecast-00000001")
    failed = _send(world, _event("Create", "{}"))["physical_id"]
    assert failed == "demand-forecast/not-created"
    # not even requested: SageMaker would reject the slash in a name
    assert "failure" not in _send(world, _event("Delete", "{}", PhysicalResourceId=failed), sagemaker=None)
    assert world.sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointStatus"] == "InService"


def test_a_cancelled_creation_goes_by_an_id_that_was_made_up(world: World) -> None:
    """The creation's effects are undone; without any, an endpoint of that name is foreign and survives."""
    made_up = f"{STACK.split('/')[1]}-Spec-0K2J4H6G8F1D"
    world.version("demand-forecast-00000001", world.package())
    world.serve("demand-forecast-00000001")
    assert "failure" not in _send(world, _event("Delete", PhysicalResourceId=made_up), sagemaker=None)

    _send(world, _event("Create"))
    assert _send(world, _event("Delete", request="r2", PhysicalResourceId=made_up)) == {
        "physical_id": made_up,
        "data": {},
    }
    running = world.stepfunctions.list_executions(stateMachineArn=MACHINE, statusFilter="RUNNING")["executions"]
    assert (running, world.table.read().desired) == ([], None)
    assert world.sagemaker.list_endpoints()["Endpoints"] == []


def test_delete_stops_rollouts_and_removes_what_is_ours(world: World) -> None:
    """Removes executions, endpoint, tagged versions, fleet alarms and pointer; foreign resources and the chain stay."""
    _send(world, _event("Create"))
    package = world.package()
    world.version("demand-forecast-00000001", package)
    world.version("demand-forecast-other", package)
    world.serve("demand-forecast-00000001")
    world.alarm("demand-forecast-rollout-00000001-errors", "OK")
    world.alarm("demand-forecast-drift", "OK")
    world.point(world.pointer("demand-forecast-00000001", package))
    assert _send(world, _event("Delete")) == {"physical_id": ENDPOINT, "data": {}}
    running = world.stepfunctions.list_executions(stateMachineArn=MACHINE, statusFilter="RUNNING")["executions"]
    assert running == []
    assert world.sagemaker.list_endpoints()["Endpoints"] == []
    configs = [c["EndpointConfigName"] for c in world.sagemaker.list_endpoint_configs()["EndpointConfigs"]]
    models = [m["ModelName"] for m in world.sagemaker.list_models()["Models"]]
    assert configs == models == ["demand-forecast-other"]
    assert [a["AlarmName"] for a in world.cloudwatch.describe_alarms()["MetricAlarms"]] == ["demand-forecast-drift"]
    row = world.table.read()
    assert (row.live, row.desired, row.owner, row.served) == (None, None, None, None)
    assert "failure" not in _send(world, _event("Delete"))


def test_a_deletion_is_the_last_record_of_the_chain(world: World) -> None:
    """It names the stack, the deleted resources and the stopped executions; a repeated delete adds no record."""
    _send(world, _event("Create"))
    package = world.package()
    world.point(world.pointer("demand-forecast-00000001", package))
    (running,) = world.executions()

    _send(world, _event("Delete", request="r9"))
    _send(world, _event("Delete", request="r10"))

    (content,) = world.objects().values()
    record = from_json(AuditRecord, content)
    assert (record.outcome, record.sequence, record.candidate_package) == (Outcome.DELETED, 1, package)
    assert record.reason == f"the stack deleted the endpoint; it stopped {running}"
    assert (record.requested_by, record.execution) == (STACK, f"{STACK}/r9")
    assert record.serving_config is None
    assert world.chain.problems() == []


def test_a_deletion_that_leaves_no_record_fails(world: World) -> None:
    """An endpoint must not be removed without a record; the stack may be deleted again."""
    chain = replace(world.chain, bucket="gone")
    assert "NoSuchBucket" in _send(world, _event("Delete"), chain=chain)["failure"]


def test_a_version_without_our_tag_is_not_ours(world: World) -> None:
    """A matching name is not enough."""
    name = "demand-forecast-0123abcd"
    container = {"ModelPackageName": world.package()}
    world.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, Containers=[container])
    variant = {"VariantName": "A", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    world.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    _send(world, _event("Delete"))
    assert len(world.sagemaker.list_endpoint_configs()["EndpointConfigs"]) == 1
    assert len(world.sagemaker.list_models()["Models"]) == 1


class _Updating:
    """A SageMaker whose endpoint update exceeds every wait."""

    def __init__(self, sagemaker: Any) -> None:
        self._sagemaker = sagemaker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sagemaker, name)

    def describe_endpoint(self, EndpointName: str) -> dict[str, str]:  # noqa: N803 - the API's own name
        return {"EndpointName": EndpointName, "EndpointStatus": "Updating"}

    def get_waiter(self, name: str) -> "_Updating":
        del name
        return self

    def wait(self, **_: object) -> None:
        raise WaiterError("EndpointInService", "Max attempts exceeded", {})


def test_delete_says_so_when_sagemaker_cannot(world: World) -> None:
    """After minutes it responds nevertheless: the stack may be deleted again."""
    answer = _send(world, _event("Delete"), sagemaker=_Updating(world.sagemaker))
    assert "endpoint demand-forecast is still Updating" in answer["failure"]
    assert answer["physical_id"] == ENDPOINT


def test_delete_of_a_former_name_leaves_the_present_one(world: World) -> None:
    """A renamed endpoint's old one is removed while the machine works for the new one."""
    _send(world, _event("Create"))
    _send(world, _event("Delete", PhysicalResourceId="former-name"))
    assert world.table.read().desired is not None
    assert world.objects() == {}
    running = world.stepfunctions.list_executions(stateMachineArn=MACHINE, statusFilter="RUNNING")["executions"]
    assert len(running) == 1


def test_delete_on_a_cluster_asks_sagemaker_nothing(world: World) -> None:
    """Its resources are removed with the manifests: rollouts are stopped and alarms deleted without calls to SageMaker."""
    _send(world, _event("Create"))
    world.alarm(f"{ENDPOINT}-rollout-0123abcd-errors", "OK")

    assert _send(world, _event("Delete"), sagemaker=None, is_on_eks=True) == {"physical_id": ENDPOINT, "data": {}}
    assert world.cloudwatch.describe_alarms()["MetricAlarms"] == []
