"""Requests of a rollout: their content, and validation by botocore's shapes.

Changes to an endpoint's scaling: only differences from the current one.
"""

from dataclasses import replace
from typing import Any

import pytest
from tests.runtime.rollout.world import EXECUTION, SPEC, World

from mlops_runtime.aws_api.api_request import check_request
from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec
from mlops_runtime.contracts.serving import ScalingSpec, ServerlessSpec, ShadowSpec
from mlops_runtime.rollout import sagemaker_requests
from mlops_runtime.rollout.deploy_plan import Facts
from mlops_runtime.rollout.execution_names import version_name
from mlops_runtime.rollout.fleet_capacity import no_scaling
from mlops_runtime.rollout.live_fleet import Variant, Version
from mlops_runtime.rollout.sagemaker_requests import planned_scaling

NAME = version_name(SPEC.endpoint, EXECUTION)
LIVE = (Variant(name="AllTraffic", instance_type="ml.m5.large", instance_count=2, weight=1.0),)
POLICIES = {
    "ALL_AT_ONCE": RolloutSpec(kind="ALL_AT_ONCE", bake=300, maximum=1800),
    "CANARY": SPEC.rollout,
    "LINEAR": RolloutSpec(kind="LINEAR", bake=300, maximum=3600, percent=25),
    "ROLLING": RolloutSpec(kind="ROLLING", bake=300, maximum=3600, percent=50, max_latency_ms=80),
}


SCALED = replace(SPEC, scaling=ScalingSpec(minimum=2, maximum=4, target=600.0))


def _update(spec: ServingSpec, live: tuple[Variant, ...] = LIVE) -> dict[str, Any]:
    return sagemaker_requests.render_update(spec, config=NAME, live=live, alarms=("new-errors", "new-abort"))


@pytest.mark.parametrize("kind", POLICIES)
@pytest.mark.parametrize("bare", [False, True])
def test_every_request_has_the_shape_of_its_operation(kind: str, bare: bool) -> None:
    """Botocore's model accepts each request, with all options and without any."""
    spec = replace(SPEC, rollout=POLICIES[kind])
    if bare:
        spec = replace(spec, kms_key=None, capture=None, subnets=(), security_groups=(), tags={})
    package = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/1"
    requests = [
        ("CreateModel", sagemaker_requests.render_model(spec, package=package, name=NAME, execution=EXECUTION)),
        ("CreateEndpointConfig", sagemaker_requests.render_endpoint_config(spec, name=NAME, execution=EXECUTION)),
        ("CreateEndpoint", sagemaker_requests.render_endpoint(spec, config=NAME, execution=EXECUTION)),
        ("UpdateEndpoint", _update(spec)),
        ("UpdateEndpoint", sagemaker_requests.render_revert(spec, config=NAME, live=LIVE)),
        ("CreateEndpointConfig", sagemaker_requests.render_rehearsal(spec, model=NAME, execution=EXECUTION)["config"]),
        ("CreateEndpoint", sagemaker_requests.render_rehearsal(spec, model=NAME, execution=EXECUTION)["endpoint"]),
    ]
    for operation, request in requests:
        assert check_request("sagemaker", operation, request) == []


def test_a_broken_request_is_noticed() -> None:
    """Shows that the previous test can fail."""
    broken = _update(SPEC) | {"RetainAllVariantPropertie": True}
    assert [finding.path for finding in check_request("sagemaker", "UpdateEndpoint", broken)] != []


def test_canary_watches_the_new_fleet_and_the_units_alarms() -> None:
    """The request has canary, bake, limit and all alarms."""
    spec = replace(SPEC, rollout=replace(SPEC.rollout, alarms=("unit-latency",), max_latency_ms=100))
    deployment = _update(spec)["DeploymentConfig"]
    assert deployment["BlueGreenUpdatePolicy"] == {
        "TrafficRoutingConfiguration": {
            "Type": "CANARY",
            "WaitIntervalInSeconds": 600,
            "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
        },
        "TerminationWaitInSeconds": 600,
        "MaximumExecutionTimeoutInSeconds": 3600,
    }
    names = [alarm["AlarmName"] for alarm in deployment["AutoRollbackConfiguration"]["Alarms"]]
    assert names == ["new-errors", "new-abort", "unit-latency"]


def test_all_at_once_waits_between_no_steps() -> None:
    """There is one step; its bake is the wait before the old fleet ends."""
    deployment = _update(replace(SPEC, rollout=POLICIES["ALL_AT_ONCE"]))["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert deployment["TrafficRoutingConfiguration"] == {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    assert deployment["TerminationWaitInSeconds"] == 300


def test_a_serverless_endpoint_has_no_guardrails() -> None:
    """SageMaker ignores a deployment config there, so none is sent."""
    serverless = ServerlessSpec(memory_mb=2048, max_concurrency=5)
    spec = replace(SPEC, serverless=serverless, instance_type="", instance_count=0)
    wanted = {"EndpointName": "demand-forecast", "EndpointConfigName": NAME}
    assert _update(spec) == sagemaker_requests.render_revert(spec, config=NAME, live=LIVE) == wanted


def test_a_shadow_stands_beside_what_serves() -> None:
    """Only the live model's fleet responds; the candidate gets copies of a share of the calls."""
    spec = replace(SPEC, rollout=replace(SPEC.rollout, shadow=ShadowSpec(percent=25, bake=600, instance_count=1)))
    live = Version(config="old", variants=(replace(LIVE[0], instance_count=3),), model="old-model", package="p")
    made = sagemaker_requests.render_shadow(
        spec, spec.rollout.shadow, model=NAME, name="e-shadow", live=live, execution=EXECUTION
    )
    (main,), (shadow,) = made["config"]["ProductionVariants"], made["config"]["ShadowProductionVariants"]
    assert (main["ModelName"], main["InitialInstanceCount"]) == ("old-model", 3)
    assert (shadow["ModelName"], shadow["InitialInstanceCount"], shadow["InitialVariantWeight"]) == (NAME, 1, 0.25)
    assert check_request("sagemaker", "CreateEndpointConfig", made["config"]) == []
    assert check_request("sagemaker", "UpdateEndpoint", made["update"]) == []
    assert set(made["update"]["DeploymentConfig"]) == {"BlueGreenUpdatePolicy"}


def test_a_rehearsal_is_one_instance_that_captures_nothing() -> None:
    """The candidate's model under its own name, with the spec's key and tags."""
    made = sagemaker_requests.render_rehearsal(SPEC, model=NAME, execution=EXECUTION)
    name = "demand-forecast-golden-4588cf62"
    assert made["endpoint"]["EndpointName"] == made["endpoint"]["EndpointConfigName"] == name
    (variant,) = made["config"]["ProductionVariants"]
    assert (variant["ModelName"], variant["InitialInstanceCount"], variant["VariantName"]) == (NAME, 1, "AllTraffic")
    assert made["config"]["KmsKeyId"] == SPEC.kms_key
    assert "DataCaptureConfig" not in made["config"]
    assert {"Key": "mlops:endpoint", "Value": "demand-forecast"} in made["config"]["Tags"]


def test_linear_and_rolling_have_their_own_sizes() -> None:
    """Each policy fills only its own part of the deployment config."""
    linear = _update(replace(SPEC, rollout=POLICIES["LINEAR"]))["DeploymentConfig"]
    routing = linear["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing["LinearStepSize"] == {"Type": "CAPACITY_PERCENT", "Value": 25}
    rolling = _update(replace(SPEC, rollout=POLICIES["ROLLING"]))["DeploymentConfig"]
    assert set(rolling) == {"RollingUpdatePolicy", "AutoRollbackConfiguration"}
    assert rolling["RollingUpdatePolicy"]["MaximumBatchSize"] == {"Type": "CAPACITY_PERCENT", "Value": 50}


def _excluded(request: dict[str, Any]) -> list[str]:
    assert request["RetainAllVariantProperties"] is True
    return [entry["VariantPropertyType"] for entry in request["ExcludeRetainedVariantProperties"]]


def test_a_new_model_keeps_the_scaled_fleet_and_takes_the_new_capture() -> None:
    """The autoscaled count is retained; data capture never is, or a new one would be ignored."""
    assert _excluded(_update(SPEC)) == ["DataCaptureConfig"]


@pytest.mark.parametrize(
    ("changes", "excluded"),
    [
        ({"instance_count": 1}, ["DataCaptureConfig", "DesiredInstanceCount"]),
        ({"instance_type": "ml.m5.xlarge"}, ["DataCaptureConfig", "DesiredInstanceCount"]),
        ({"weight": 0.5}, ["DataCaptureConfig", "DesiredWeight"]),
    ],
)
def test_a_changed_fleet_takes_effect(changes: dict[str, Any], excluded: list[str]) -> None:
    """A count, type or weight other than the live config's is not retained."""
    assert _excluded(_update(SPEC, (replace(LIVE[0], **changes),))) == excluded


def test_revert_is_at_once_and_watches_nothing() -> None:
    """Alarms caused by the version being left must not end the rollback."""
    request = sagemaker_requests.render_revert(SPEC, config="old", live=LIVE)
    assert request["EndpointConfigName"] == "old"
    assert set(request["DeploymentConfig"]) == {"BlueGreenUpdatePolicy"}
    routing = request["DeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing == {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}


def test_everything_is_tagged() -> None:
    """Unit and owner of the spec, endpoint and execution."""
    request = sagemaker_requests.render_endpoint_config(SPEC, name=NAME, execution=EXECUTION)
    tags = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    assert tags == {
        "mlops:unit": "demand",
        "mlops:owner": "planning",
        "mlops:endpoint": "demand-forecast",
        "mlops:execution": EXECUTION,
    }


def test_capture_writes_text_where_it_can() -> None:
    """JSON and CSV are captured as text, encrypted with the spec's key."""
    spec = replace(SPEC, capture=replace(SPEC.capture, kms_key="key", percent=40))
    capture = sagemaker_requests.render_endpoint_config(spec, name=NAME, execution=EXECUTION)["DataCaptureConfig"]
    assert capture["InitialSamplingPercentage"] == 40
    assert capture["KmsKeyId"] == "key"
    assert capture["CaptureContentTypeHeader"]["JsonContentTypes"] == ["application/json"]


def facts_of(world: World, spec: ServingSpec) -> Facts:
    """Return the facts of an endpoint that serves under a spec."""
    package = world.package()
    world.version("demand-forecast-00000001", package)
    world.serve("demand-forecast-00000001")
    world.store(spec)
    world.point(world.pointer("demand-forecast-00000001", package, spec))
    return world.facts(world.request("spec"))


def test_what_scales_already_is_left_alone(world: World) -> None:
    """Variants and scaling are the same."""
    assert planned_scaling(SCALED, facts_of(world, SCALED)) == no_scaling()


def test_what_did_not_scale_is_registered_and_nothing_taken_back(world: World) -> None:
    """Nothing needs to be deregistered."""
    planned = planned_scaling(SCALED, facts_of(world, SPEC))
    assert (len(planned["targets"]), planned["deregister"], planned["alarm_names"]) == (1, [], [])


def test_an_instance_type_changes_while_nothing_is_registered(world: World) -> None:
    """SageMaker rejects it otherwise; unwanted registrations are removed in the same way."""
    facts = facts_of(world, SCALED)
    assert len(planned_scaling(replace(SCALED, instance_type="ml.c7g.large"), facts)["deregister"]) == 1
    assert planned_scaling(SPEC, facts)["targets"] == []
    assert len(planned_scaling(SPEC, facts)["deregister"]) == 1


def test_of_what_serves_unrecorded_nothing_is_known(world: World) -> None:
    """So everything is deregistered and registered again."""
    facts = replace(facts_of(world, SCALED), live_spec=None)
    planned = planned_scaling(SCALED, facts)
    assert len(planned["targets"]) == len(planned["deregister"]) == 1


def test_a_first_endpoint_registers_what_it_gets(world: World) -> None:
    """Nothing serves yet."""
    world.store(SCALED)
    facts = world.facts(world.request("spec"))
    assert facts.serving is None
    assert len(planned_scaling(SCALED, facts)["targets"]) == 1


def test_the_online_table_is_all_that_a_model_gets_beside_its_package() -> None:
    """The rest of its environment was approved with it."""
    package = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/1"
    plain = sagemaker_requests.render_model(SPEC, package=package, name=NAME, execution=EXECUTION)
    served = replace(SPEC, online_table="demand-online")
    request: Any = sagemaker_requests.render_model(served, package=package, name=NAME, execution=EXECUTION)
    assert plain["Containers"] == [{"ModelPackageName": package}]
    assert request["Containers"] == [
        {"ModelPackageName": package, "Environment": {"MLOPS_ONLINE_TABLE": "demand-online"}}
    ]
    assert check_request("sagemaker", "CreateModel", request) == []
