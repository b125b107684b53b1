"""Capacities of endpoints: scaling bounds, targets and off hours."""

from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_sns as sns

from mlops_constructs import EndpointCapacity, EndpointVariant, Scaling, ValidationError, off_hours

GIB = cdk.Size.gibibytes


def test_a_fleet_follows_its_calls() -> None:
    """Bounds, target and cooldowns are part of the serving spec."""
    spec = Scaling(
        min_capacity=2, max_capacity=8, target_invocations=600, scale_in_cooldown=cdk.Duration.minutes(10)
    ).to_spec()
    assert (spec.minimum, spec.maximum, spec.target, spec.metric) == (2, 8, 600, "INVOCATIONS_PER_INSTANCE")
    assert (spec.scale_in_cool_down, spec.scale_out_cool_down) == (600, 60)


def test_a_queue_is_followed_by_its_backlog() -> None:
    """The metric depends on the given target."""
    assert Scaling(min_capacity=0, max_capacity=4, target_backlog=5).to_spec().metric == "BACKLOG_PER_INSTANCE"


def test_fails_when_it_follows_two_things() -> None:
    """An endpoint has either calls or a queue."""
    with pytest.raises(
        ValidationError, match="scales by calls or by backlog, got target_invocations 1 and target_backlog 2"
    ):
        Scaling(min_capacity=1, max_capacity=2, target_invocations=1, target_backlog=2)


def test_off_hours_shrink_the_fleet_over_night_and_weekend() -> None:
    """Two schedules in the given time zone, from the last workday's evening to the first one's morning."""
    begin, end = off_hours(min_capacity=2, max_capacity=6, start=20, end=6, time_zone="Europe/Berlin")
    assert (begin.schedule, begin.min_capacity, begin.max_capacity) == ("cron(0 20 ? * MON-FRI *)", 1, 1)
    assert (end.schedule, end.min_capacity, end.max_capacity) == ("cron(0 6 ? * MON-FRI *)", 2, 6)
    assert {begin.time_zone, end.time_zone} == {"Europe/Berlin"}


def test_off_hours_are_schedules_that_a_capacity_takes() -> None:
    """The helper's schedules pass validation, for asynchronous fleets down to zero."""
    days = off_hours(min_capacity=1, max_capacity=4, days=("THU", "MON", "WED"))
    capacity = EndpointCapacity.instances(
        "ml.m5.large", instance_count=1, scaling=Scaling(min_capacity=1, max_capacity=4, schedules=days)
    )
    assert capacity.scaling is not None
    nothing = off_hours(min_capacity=0, max_capacity=4, off_min_capacity=0, off_max_capacity=0)
    EndpointCapacity.asynchronous(
        "ml.m5.large", instance_count=1, scaling=Scaling(min_capacity=0, max_capacity=4, schedules=nothing)
    )
    with pytest.raises(ValidationError, match="minimum must be at least 1, got 0; only an asynchronous endpoint"):
        EndpointCapacity.instances(
            "ml.m5.large", instance_count=1, scaling=Scaling(min_capacity=1, max_capacity=4, schedules=nothing)
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": 24}, "start must be from 0 to 23, got 24"),
        ({"end": -1}, "end must be from 0 to 23, got -1"),
        ({"days": "Mon-Fri"}, "days must be a tuple of 'MON', .*, got 'Mon-Fri'"),
        ({"days": ("Mon",)}, "days must be a tuple of 'MON', .*, got .*'Mon'"),
        ({"days": ()}, "days must not be empty"),
        ({"start": 7, "end": 7}, "must start and end at different hours, got 7 twice"),
    ],
)
def test_fails_when_off_hours_are_not_possible(changes: dict[str, int], message: str) -> None:
    """Rejects invalid hours and weekdays."""
    with pytest.raises(ValidationError, match=message):
        off_hours(min_capacity=1, max_capacity=2, **changes)  # type: ignore[arg-type]  # mixed types of the table


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_instances_keep_type_and_count(count: int) -> None:
    """Keeps type and count up to SageMaker's limit."""
    capacity = EndpointCapacity.instances("ml.m5.large", instance_count=count)

    assert (capacity.instance_type, capacity.instance_count) == ("ml.m5.large", count)
    assert not capacity.is_serverless
    assert not capacity.is_asynchronous


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_fails_on_an_impossible_count(count: int) -> None:
    """The message names prop and value."""
    with pytest.raises(ValidationError, match=rf"InvalidCapacity: instance_count .*got {count}"):
        EndpointCapacity.instances("ml.m5.large", instance_count=count)


def test_fails_with_every_problem_at_once() -> None:
    """A wrong type does not hide a wrong count."""
    with pytest.raises(ValidationError, match=r"instance_type .*'m5.large'.*count .*got 0"):
        EndpointCapacity.instances("m5.large", instance_count=0)


def test_what_is_known_at_deployment_only_is_not_judged() -> None:
    """Accepts tokens, which CloudFormation resolves."""
    kind, count = cdk.Token.as_string({"Ref": "Type"}), cdk.Token.as_number({"Ref": "Count"})
    assert EndpointCapacity.instances(kind, instance_count=count).instance_type == kind


def test_variants_share_calls_and_the_smallest_decides_on_canaries() -> None:
    """Lists the distinct types of all fleets; a canary is a slice of each fleet."""
    variants = [EndpointVariant(name="Arm", instance_type="ml.c7g.large", instance_count=2, weight=0.1)]
    capacity = EndpointCapacity.instances("ml.m5.large", instance_count=4, variants=variants)
    assert capacity.instance_types == ["ml.m5.large", "ml.c7g.large"]
    assert capacity.smallest_fleet == 2


def test_the_smallest_fleet_is_what_scaling_may_leave() -> None:
    """The minimum comes from the bounds or from a schedule at night."""
    hours = off_hours(min_capacity=3, max_capacity=8)
    by_bound = Scaling(min_capacity=3, max_capacity=8, target_invocations=600)
    by_night = Scaling(min_capacity=3, max_capacity=8, target_invocations=600, schedules=hours)
    assert EndpointCapacity.instances("ml.m5.large", instance_count=4, scaling=by_bound).smallest_fleet == 3
    assert EndpointCapacity.instances("ml.m5.large", instance_count=4, scaling=by_night).smallest_fleet == 1


def test_serverless_has_memory_and_concurrency_and_no_instances() -> None:
    """Memory sizes are whole gibibytes."""
    capacity = EndpointCapacity.serverless(memory=GIB(2), max_concurrency=20, provisioned_concurrency=2)
    assert capacity.is_serverless
    assert capacity.instance_types == []
    assert capacity.serverless_config is not None
    assert capacity.serverless_config.memory_mb == 2048


def test_asynchronous_names_topics_and_limits() -> None:
    """Settings are part of the serving spec; topics are omitted by default."""
    stack = cdk.Stack(cdk.App(), "S")
    topic = sns.Topic.from_topic_arn(stack, "Topic", "arn:aws:sns:us-east-1:123456789012:errors")
    capacity = EndpointCapacity.asynchronous("ml.m5.large", instance_count=1, max_concurrency=4, error_topic=topic)
    assert capacity.asynchronous_config is not None
    spec = capacity.asynchronous_config.to_spec(output="s3://b/a", failures="s3://b/f", kms_key="key")
    assert (spec.max_concurrency, spec.success_topic, spec.error_topic) == (4, None, topic.topic_arn)
    assert (spec.output, spec.failures, spec.kms_key) == ("s3://b/a", "s3://b/f", "key")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EndpointCapacity.serverless(memory=GIB(7), max_concurrency=1), "memory_mb must be one of .*got 7168"),
        (
            lambda: EndpointCapacity.serverless(memory=GIB(1), max_concurrency=0),
            "max_concurrency must be 1 to 200, got 0",
        ),
        (
            lambda: EndpointCapacity.serverless(memory=GIB(1), max_concurrency=2, provisioned_concurrency=3),
            r"provisioned_concurrency must be 1 to max_concurrency \(2\), got 3",
        ),
        (
            lambda: EndpointCapacity.instances(
                "ml.m5.large", instance_count=1, scaling=Scaling(min_capacity=0, max_capacity=2, target_invocations=1)
            ),
            "minimum must be at least 1, got 0; only an asynchronous endpoint scales to zero",
        ),
        (
            lambda: EndpointCapacity.instances(
                "ml.m5.large", instance_count=1, scaling=Scaling(min_capacity=1, max_capacity=2)
            ),
            "scaling must have a target or schedules",
        ),
        (
            lambda: EndpointCapacity.asynchronous(
                "ml.m5.large", instance_count=1, scaling=Scaling(min_capacity=0, max_capacity=2, target_invocations=1)
            ),
            "must be BACKLOG_PER_INSTANCE, got INVOCATIONS_PER_INSTANCE",
        ),
        (
            lambda: EndpointCapacity.instances(
                "ml.t2.large", instance_count=1, scaling=Scaling(min_capacity=1, max_capacity=2, target_invocations=1)
            ),
            "burstable instances cannot scale, got ml.t2.large",
        ),
        (
            lambda: EndpointCapacity.instances(
                "ml.m5.large",
                instance_count=1,
                variants=[
                    EndpointVariant(name="AllTraffic", instance_type="ml.m5.large", instance_count=1, weight=0.5)
                ],
            ),
            "variants must have different names, got 'AllTraffic' 2 times",
        ),
        (
            lambda: EndpointCapacity.asynchronous("ml.m5.large", instance_count=1, retention=cdk.Duration.hours(1)),
            "retention must be from",
        ),
    ],
)
def test_fails_when_sagemaker_would_refuse_it(make: Callable[[], Any], message: str) -> None:
    """Invalid capacities fail where they are declared."""
    with pytest.raises(ValidationError, match=message):
        make()
