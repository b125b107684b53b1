"""Requests of a capacity: their content, and validation by botocore's shapes."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.rollout.world import EXECUTION, SPEC

from mlops_runtime.aws_api.api_request import check_request
from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec
from mlops_runtime.contracts.serving import (
    AsynchronousSpec,
    ScalingSpec,
    ScheduledCapacitySpec,
    ServerlessSpec,
    VariantSpec,
)
from mlops_runtime.rollout import sagemaker_requests
from mlops_runtime.rollout.fleet_capacity import (
    capacity_problems,
    conversion_problem,
    error_metric,
    no_scaling,
    render_asynchronous,
    render_scaling,
    render_variants,
)
from mlops_runtime.rollout.serving_limits import check_spec

OFF = (
    ScheduledCapacitySpec(name="night", schedule="cron(0 20 * * ? *)", minimum=2, maximum=2, timezone="Europe/Berlin"),
    ScheduledCapacitySpec(name="day", schedule="cron(0 6 ? * MON-FRI *)", minimum=2, maximum=6),
)
SCALED = replace(SPEC, scaling=ScalingSpec(minimum=2, maximum=6, target=500.0, schedules=OFF))
VARIED = replace(
    SCALED, variants=(VariantSpec(name="Arm", instance_type="ml.c7g.large", instance_count=2, weight=0.25),)
)
ASYNCHRONOUS = replace(
    SPEC,
    capture=None,
    rollout=RolloutSpec(kind="ALL_AT_ONCE", bake=0, maximum=3600),
    asynchronous=AsynchronousSpec(
        output="s3://bucket/answers",
        failures="s3://bucket/failures",
        max_concurrency=4,
        error_topic="arn:aws:sns:us-east-1:123456789012:errors",
        kms_key="key",
    ),
    scaling=ScalingSpec(minimum=0, maximum=4, target=5.0, metric="BACKLOG_PER_INSTANCE"),
)
SERVERLESS = replace(
    SPEC,
    instance_type="",
    instance_count=0,
    subnets=(),
    security_groups=(),
    network_isolation=False,
    kms_key=None,
    capture=None,
    rollout=RolloutSpec(kind="ALL_AT_ONCE", bake=0, maximum=3600),
    serverless=ServerlessSpec(memory_mb=2048, max_concurrency=20, provisioned_concurrency=2),
)
SPECS = {"scaled": SCALED, "varied": VARIED, "asynchronous": ASYNCHRONOUS, "serverless": SERVERLESS}
OPERATIONS = {
    "deregister": "DeregisterScalableTarget",
    "targets": "RegisterScalableTarget",
    "policies": "PutScalingPolicy",
    "schedules": "PutScheduledAction",
}


@pytest.mark.parametrize("name", SPECS)
def test_every_request_has_the_shape_of_its_operation(name: str) -> None:
    """Botocore accepts the config and each scaling request, and the limits accept the spec."""
    spec = SPECS[name]
    assert check_spec(spec) is spec
    config = sagemaker_requests.render_endpoint_config(spec, name="demand-forecast-4588cf62", execution=EXECUTION)
    assert check_request("sagemaker", "CreateEndpointConfig", config) == []
    scaling = render_scaling(spec)
    for key, operation in OPERATIONS.items():
        for request in scaling[key]:
            assert check_request("application-autoscaling", operation, request) == [], operation
    for wake in scaling["wake"]:
        assert check_request("application-autoscaling", "PutScalingPolicy", wake["policy"]) == []
        assert check_request("cloudwatch", "PutMetricAlarm", wake["alarm"] | {"AlarmActions": ["arn"]}) == []


def test_a_plain_endpoint_has_one_variant_and_no_extras() -> None:
    """The config of instances is unchanged by other capacities."""
    assert render_variants(SPEC, model="m") == [
        {
            "VariantName": "AllTraffic",
            "ModelName": "m",
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 2,
            "InitialVariantWeight": 1.0,
        }
    ]
    assert "AsyncInferenceConfig" not in sagemaker_requests.render_endpoint_config(SPEC, name="n", execution="e")


def test_a_serverless_variant_has_no_instances() -> None:
    """Memory, concurrency and provisioned concurrency, without instance type and count."""
    (variant,) = render_variants(SERVERLESS, model="m")
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 20, "ProvisionedConcurrency": 2}
    assert not {"InstanceType", "InitialInstanceCount"} & set(variant)
    assert render_scaling(SERVERLESS) == no_scaling()


def test_asynchronous_answers_go_where_the_spec_says() -> None:
    """Outputs, failures, key, topic and concurrency are in the request; an absent topic is omitted."""
    assert render_asynchronous(ASYNCHRONOUS.asynchronous) == {
        "OutputConfig": {
            "S3OutputPath": "s3://bucket/answers",
            "S3FailurePath": "s3://bucket/failures",
            "KmsKeyId": "key",
            "NotificationConfig": {"ErrorTopic": "arn:aws:sns:us-east-1:123456789012:errors"},
        },
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 4},
    }


@given(st.lists(st.floats(0, 0.1), max_size=8))
def test_shares_of_all_variants_are_the_whole(weights: list[float]) -> None:
    """The main variant gets the remaining share."""
    variants = tuple(
        VariantSpec(name=f"V{n}", instance_type="ml.m5.large", instance_count=2, weight=weight)
        for n, weight in enumerate(weights)
    )
    rendered = render_variants(replace(SPEC, variants=variants), model="m")
    assert sum(v["InitialVariantWeight"] for v in rendered) == pytest.approx(1.0, abs=1e-5)
    assert all(v["InitialVariantWeight"] > 0 for v in rendered[:1])


def test_every_variant_scales_by_itself() -> None:
    """Target, policy and schedules of each variant have its own resource."""
    scaling = render_scaling(VARIED)
    ids = ["endpoint/demand-forecast/variant/AllTraffic", "endpoint/demand-forecast/variant/Arm"]
    assert [t["ResourceId"] for t in scaling["targets"]] == ids
    assert [p["ResourceId"] for p in scaling["policies"]] == ids
    assert len({p["PolicyName"] for p in scaling["policies"]}) == 2
    assert [(s["ResourceId"], s["ScheduledActionName"]) for s in scaling["schedules"]] == [
        (resource, name) for resource in ids for name in ("night", "day")
    ]
    assert scaling["schedules"][0]["Timezone"] == "Europe/Berlin"
    assert scaling["wake"] == []


def test_a_target_follows_calls_and_a_backlog_follows_the_queue() -> None:
    """Real-time variants use the predefined metric, asynchronous ones the endpoint's own."""
    (calls,) = render_scaling(SCALED)["policies"]
    assert calls["TargetTrackingScalingPolicyConfiguration"] == {
        "TargetValue": 500.0,
        "ScaleInCooldown": 300,
        "ScaleOutCooldown": 60,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
    }
    (backlog,) = render_scaling(ASYNCHRONOUS)["policies"]
    metric = backlog["TargetTrackingScalingPolicyConfiguration"]["CustomizedMetricSpecification"]
    assert metric["MetricName"] == "ApproximateBacklogSizePerInstance"
    assert metric["Dimensions"] == [{"Name": "EndpointName", "Value": "demand-forecast"}]


def test_a_fleet_of_none_is_woken_by_its_backlog() -> None:
    """A step policy and an alarm exist only with a bound of zero."""
    (wake,) = render_scaling(ASYNCHRONOUS)["wake"]
    assert wake["alarm"]["MetricName"] == "HasBacklogWithoutCapacity"
    assert wake["policy"]["StepScalingPolicyConfiguration"]["StepAdjustments"][0]["ScalingAdjustment"] == 1
    awake = replace(ASYNCHRONOUS, scaling=replace(ASYNCHRONOUS.scaling, minimum=1))
    assert render_scaling(awake)["wake"] == []
    asleep_at_night = (ScheduledCapacitySpec(name="off", schedule="cron(0 20 * * ? *)", minimum=0, maximum=1),)
    nightly = replace(awake, scaling=replace(awake.scaling, schedules=asleep_at_night))
    assert len(render_scaling(nightly)["wake"]) == 1


def test_what_no_longer_is_can_be_taken_back() -> None:
    """Variants missing in the spec are deregistered too, also by a spec without scaling."""
    scaling = render_scaling(SPEC, live_variants=["AllTraffic", "Arm"])
    assert [t["ResourceId"].rpartition("/")[2] for t in scaling["deregister"]] == ["AllTraffic", "Arm"]
    assert scaling["alarm_names"] == ["demand-forecast-scaling-AllTraffic-wake", "demand-forecast-scaling-Arm-wake"]
    assert scaling["targets"] == []


def test_errors_are_counted_by_a_metric_that_is_published() -> None:
    """Asynchronous and serverless endpoints do not publish the general metric of real-time endpoints."""
    assert error_metric(VARIED) == "InvocationModelErrors"
    assert {error_metric(SERVERLESS), error_metric(ASYNCHRONOUS)} == {"Invocation5XXErrors"}


def test_instances_neither_come_nor_go_altogether() -> None:
    """SageMaker rejects one direction, and the other has no rollback."""
    assert conversion_problem(SERVERLESS, is_live_serverless=True) is None
    assert conversion_problem(SCALED, is_live_serverless=False) is None
    assert "cannot convert an endpoint on instances to serverless" in str(
        conversion_problem(SERVERLESS, is_live_serverless=False)
    )
    assert "cannot return to serverless" in str(conversion_problem(SCALED, is_live_serverless=True))


def test_a_spec_without_scaling_has_no_problem() -> None:
    """Capacities are optional."""
    assert capacity_problems(SPEC) == []


def _names(spec: ServingSpec) -> list[Any]:
    return [request["PolicyName"] for request in render_scaling(spec)["policies"]]


def test_names_do_not_depend_on_what_may_change() -> None:
    """A new target value has the old name, so that it replaces the policy."""
    changed = replace(SCALED, scaling=replace(SCALED.scaling, target=9.0))
    assert _names(changed) == _names(SCALED) == ["demand-forecast-AllTraffic-target"]
