"""Facts read at their sources."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from tests.passed import EVALUATION, put_passed
from tests.runtime.rollout.world import ENDPOINT, ENVIRONMENT, EXECUTION, NOW, PACKAGE, SPEC, World
from tests.signing import KEY

from mlops_runtime.contracts.unit_entries import FreezeSpec, FreezeWindow
from mlops_runtime.registry.package_approval import BY_POLICY, ApprovalRule
from mlops_runtime.rollout.execution_names import ENDPOINT_TAG
from mlops_runtime.rollout.planned_bake import Traffic
from mlops_runtime.rollout.preflight_facts import Sources, alarm_states


def test_facts_of_an_empty_account(world: World) -> None:
    """Missing resources are not an error."""
    facts = world.facts(world.request("spec"))
    assert (facts.spec, facts.serving, facts.package, facts.alarm_states) == (None, None, None, {})


def test_facts_are_of_the_desired_spec_whatever_was_asked_for(world: World) -> None:
    """A request that waited for the lock deploys the current spec."""
    first = world.store()
    newer = replace(SPEC, instance_count=4)
    world.store(newer)
    facts = world.facts(replace(world.request("spec"), spec_uri=first))
    assert facts.spec == newer


@pytest.fixture
def three(world: World) -> tuple[World, list[str]]:
    """Return three packages, each served once; the newest serves, two are kept."""
    packages = [world.package(spec=replace(PACKAGE, training_set_id=digit * 64)) for digit in "def"]
    configs = [f"demand-forecast-0000000{number}" for number in (1, 2, 3)]
    for config, package in zip(configs, packages, strict=True):
        world.version(config, package)
    world.serve(configs[2])
    world.store()
    world.point(world.pointer(configs[2], packages[2], previous=configs[1], kept=(configs[0],)))
    return world, packages


def test_the_package_of_a_rollback_is_the_previous_configs(three: tuple[World, list[str]]) -> None:
    """Found through config and model; with a target, that one."""
    world, packages = three
    for request, wanted in [
        (world.request("rollback"), packages[1]),
        (world.request("rollback", packages[0]), packages[0]),
        (world.request("spec"), packages[2]),
    ]:
        facts = world.facts(request)
        assert facts.package is not None
        assert facts.package["ModelPackageArn"] == wanted
    assert set(facts.versions) == {f"demand-forecast-0000000{number}" for number in (1, 2, 3)}
    assert facts.live_spec == SPEC


def test_a_rollback_passes_over_a_version_that_was_deleted(three: tuple[World, list[str]]) -> None:
    """The next existing version is the target."""
    world, packages = three
    world.sagemaker.delete_model(ModelName="demand-forecast-00000002")
    facts = world.facts(world.request("rollback"))
    assert facts.package is not None
    assert facts.package["ModelPackageArn"] == packages[0]


def test_what_nobody_refers_to_is_left_over(three: tuple[World, list[str]]) -> None:
    """Versions of dead executions and all fleet alarms; not those serving, kept or about to be created."""
    world, packages = three
    world.version("demand-forecast-0badc0de", packages[0])
    world.version("demand-forecast-4588cf62", packages[0])
    world.alarm("demand-forecast-rollout-0badc0de-errors", "OK")
    left = world.facts(world.request("spec")).leftovers
    assert left.versions == ("demand-forecast-0badc0de",)
    assert left.alarms == ("demand-forecast-rollout-0badc0de-errors",)


def test_an_approval_is_held_to_the_rule(three: tuple[World, list[str]]) -> None:
    """The person is named if not an approver."""
    world, packages = three
    assert world.facts(world.request("approval", packages[0])).approval == ()
    strict = replace(world.sources, rule=ApprovalRule(approvers=("arn:aws:iam::123456789012:role/Other",)))
    (problem,) = strict.facts(world.request("approval", packages[0]), execution=EXECUTION, now=NOW).approval
    assert "assumed-role/Approver/ann" in problem


class Failed:
    """A SageMaker with a tagged endpoint in status Failed."""

    def __init__(self, sagemaker: Any, *tags: dict[str, str]) -> None:
        self._sagemaker, self._tags = sagemaker, list(tags)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sagemaker, name)

    def describe_endpoint(self, EndpointName: str) -> dict[str, Any]:  # noqa: N803 - the API's own name
        """Return the status Failed."""
        arn = f"arn:aws:sagemaker:us-east-1:123456789012:endpoint/{EndpointName}"
        config = f"{ENDPOINT}-0000000a"
        return {
            "EndpointName": EndpointName,
            "EndpointArn": arn,
            "EndpointStatus": "Failed",
            "EndpointConfigName": config,
        }

    def list_tags(self, ResourceArn: str) -> dict[str, Any]:  # noqa: N803
        """Return the endpoint's tags, and other tags unchanged."""
        if ResourceArn.endswith(f":endpoint/{ENDPOINT}"):
            return {"Tags": self._tags}
        return dict(self._sagemaker.list_tags(ResourceArn=ResourceArn))


OURS = {"Key": ENDPOINT_TAG, "Value": ENDPOINT}


@pytest.mark.parametrize(("tags", "found"), [((OURS,), True), ((), False), (({**OURS, "Value": "other"},), False)])
def test_a_first_endpoint_of_ours_that_failed_is_known(world: World, tags: Any, found: bool) -> None:
    """By its tag, and because nothing was ever recorded as live; its version is then a leftover."""
    world.version(f"{ENDPOINT}-0000000a", world.package())
    sources = replace(world.sources, sagemaker=Failed(world.sagemaker, *tags))
    facts = sources.facts(world.request("spec"), execution=EXECUTION, now=NOW)
    assert facts.never_served is found
    assert facts.leftovers.versions == ((f"{ENDPOINT}-0000000a",) if found else ())


def test_what_ever_served_is_no_first_endpoint(world: World) -> None:
    """Also when nothing is live any more."""
    world.dynamodb.update_item(
        TableName="rollout",
        Key={"endpoint": {"S": ENDPOINT}},
        UpdateExpression="SET served = :at",
        ExpressionAttributeValues={":at": {"S": "2017-07-01T00:00:00Z"}},
    )
    sources = replace(world.sources, sagemaker=Failed(world.sagemaker, OURS))
    assert not sources.facts(world.request("spec"), execution=EXECUTION, now=NOW).never_served


def test_sources_follow_from_the_environment(world: World) -> None:
    """The construct sets these variables of the function."""
    made = Sources.from_environment(ENVIRONMENT, lambda service, **_: getattr(world, service), slots=None)
    assert (made.group, made.bucket, made.table.endpoint) == (ENDPOINT, "artifacts", ENDPOINT)
    assert made.facts(world.request("rollback"), execution=EXECUTION, now=NOW) == world.facts(world.request("rollback"))


def test_when_the_spec_was_stored_is_read(world: World) -> None:
    """By S3's clock."""
    assert world.facts(world.request("spec")).spec_stored is None
    world.store()
    assert world.facts(world.request("spec")).spec_stored is not None


def test_freeze_and_pause_are_read(world: World) -> None:
    """The calendar comes from the environment, the pause from the unit's row if a policy approved the request."""
    window = FreezeWindow(name="peak", start=NOW - timedelta(days=1), end=NOW + timedelta(days=1))
    automation = replace(world.sources.automation, freeze=FreezeSpec(windows=(window,)))
    sources = replace(world.sources, automation=automation)
    packages = [world.package(), world.package(spec=replace(PACKAGE, training_set_id="d" * 64))]
    for package, description in zip(packages, (f"{BY_POLICY}better", "better"), strict=True):
        world.sagemaker.update_model_package(ModelPackageArn=package, ApprovalDescription=description)
    by_policy, by_a_person = (
        sources.facts(world.request("approval", package), execution=EXECUTION, now=NOW) for package in packages
    )
    assert by_policy.frozen is not None
    assert "'peak'" in by_policy.frozen
    assert by_policy.rests == by_policy.frozen == by_a_person.frozen
    assert by_a_person.rests is None


def test_the_alarm_of_a_request_is_read_too(three: tuple[World, list[str]]) -> None:
    """A probation is over when it is no longer in ALARM."""
    world, _ = three
    world.alarm("refunds", "ALARM")
    assert world.facts(world.request("rollback", alarm="refunds")).alarm_states == {"refunds": "ALARM"}


def test_metric_and_composite_alarms_are_read() -> None:
    """Without AlarmTypes CloudWatch returns only metric alarms."""
    cloudwatch = boto3.client("cloudwatch", region_name="us-east-1")
    requested = {"AlarmNames": ["errors", "all", "none"], "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]}
    answer = {
        "MetricAlarms": [{"AlarmName": "errors", "StateValue": "OK"}],
        "CompositeAlarms": [{"AlarmName": "all", "StateValue": "ALARM"}],
    }
    with Stubber(cloudwatch) as stub:
        stub.add_response("describe_alarms", answer, requested)
        assert alarm_states(cloudwatch, ["errors", "all", "none"]) == {"errors": "OK", "all": "ALARM"}
        stub.assert_no_pending_responses()
        assert alarm_states(cloudwatch, []) == {}


def test_fails_when_the_desired_spec_lies_in_another_bucket(world: World) -> None:
    """Only the unit's own bucket is read."""
    world.table.set_desired("s3://elsewhere/specs/demand-forecast/x.json")
    with pytest.raises(ClientError, match="NoSuchKey"):
        world.facts(world.request("spec"))


@pytest.mark.parametrize(("reason", "looks"), [("approval", 0), ("spec", 1), ("rollback", 1)])
def test_a_look_at_the_chain_is_one_call_at_most(three: tuple[World, list[str]], reason: str, looks: int) -> None:
    """None for a new model; one for a request that depends on a promotion other than the newest record."""
    world, packages = three
    for package in packages:
        world.promote(package)
    world.promote(world.package(spec=replace(PACKAGE, training_set_id="9" * 64)))
    with counted(world) as calls:
        facts = world.facts(world.request(reason, packages[0] if reason != "spec" else None))
    read = [path for name, path in calls if name == "GetObject" and path.startswith("/audit/")]
    assert len(read) == looks
    assert len(calls) <= 1.2 * (len(calls) - looks)
    assert (facts.promotion is not None) is (reason != "approval")


def test_a_first_endpoint_takes_ten_calls(world: World) -> None:
    """Eight, and two for the archive's signature."""
    world.store(replace(SPEC, rollout=replace(SPEC.rollout, alarms=())))
    gate = put_passed(world.s3)
    world.sources.archives.sign(gate)
    archive = gate.replace("gates", "models").removesuffix(".json") + "/model.tar.gz"
    signed = replace(PACKAGE, artifact_uri=archive, artifact_sha256=EVALUATION.artifact_sha256, signing_key=KEY)
    package = world.package(spec=signed)
    with counted(world) as calls:
        facts = world.facts(world.request("approval", package))
    assert (facts.signature, facts.serving) == ((), None)
    assert [name for name, _ in calls] == [
        "GetItem",  # row
        "GetObject",  # spec
        "DescribeEndpoint",
        "DescribeModelPackage",
        "GetObject",  # signature
        "HeadObject",  # archive
        "ListEndpointConfigs",
        "ListModels",
        "ListEndpoints",
        "DescribeAlarms",
    ]
    assert len(calls) <= 1.2 * 9


@contextmanager
def counted(world: World) -> Iterator[list[tuple[str, Any]]]:
    """Yield a list that gets every call by operation and path."""
    calls: list[tuple[str, Any]] = []

    def count(params: dict[str, Any], model: Any, **_: Any) -> None:
        calls.append((model.name, params["url_path"]))

    clients = [world.sagemaker, world.s3, world.cloudwatch, boto_dynamodb(world)]
    for client in clients:
        client.meta.events.register("before-call", count, unique_id="count")
    try:
        yield calls
    finally:
        for client in clients:
            client.meta.events.unregister("before-call", unique_id="count")


def boto_dynamodb(world: World) -> Any:
    """Return the client below the world's atomic writes."""
    return world.dynamodb._dynamodb


@pytest.mark.parametrize(
    ("max_bake", "reason", "known"),
    [(3600, "spec", True), (None, "spec", False), (600, "spec", False), (3600, "rollback", False)],
)
def test_traffic_is_read_where_a_bake_is_planned_by_it(
    world: World, max_bake: int | None, reason: str, known: bool
) -> None:
    """A role without access to metrics gets no such request."""
    rollout = replace(SPEC.rollout, max_bake=max_bake, maximum=10800)
    world.store(replace(SPEC, rollout=rollout))
    assert world.facts(world.request(reason)).traffic == (Traffic() if known else None)
