"""Bounds, targets and off hours."""

import aws_cdk as cdk
import pytest

from mlops_constructs import EndpointCapacity, Scaling, ValidationError, off_hours


def test_a_fleet_follows_its_calls() -> None:
    """Bounds, target and cool-downs reach the serving spec."""
    spec = Scaling(
        min_capacity=2, max_capacity=8, target_invocations=600, scale_in_cooldown=cdk.Duration.minutes(10)
    ).to_spec()
    assert (spec.minimum, spec.maximum, spec.target, spec.metric) == (2, 8, 600, "INVOCATIONS_PER_INSTANCE")
    assert (spec.scale_in_cool_down, spec.scale_out_cool_down) == (600, 60)


def test_a_queue_is_followed_by_its_backlog() -> None:
    """The metric follows from which target is given."""
    assert Scaling(min_capacity=0, max_capacity=4, target_backlog=5).to_spec().metric == "BACKLOG_PER_INSTANCE"


def test_fails_when_it_follows_two_things() -> None:
    """An endpoint has calls or a queue."""
    with pytest.raises(
        ValidationError, match="follows calls or a queue, got target_invocations 1 and target_backlog 2"
    ):
        Scaling(min_capacity=1, max_capacity=2, target_invocations=1, target_backlog=2)


def test_off_hours_shrink_the_fleet_over_night_and_weekend() -> None:
    """Two schedules in the given zone, from the last working day's evening to the first one's morning."""
    begin, end = off_hours(min_capacity=2, max_capacity=6, start=20, end=6, time_zone="Europe/Berlin")
    assert (begin.schedule, begin.min_capacity, begin.max_capacity) == ("cron(0 20 ? * MON-FRI *)", 1, 1)
    assert (end.schedule, end.min_capacity, end.max_capacity) == ("cron(0 6 ? * MON-FRI *)", 2, 6)
    assert {begin.time_zone, end.time_zone} == {"Europe/Berlin"}


def test_off_hours_are_schedules_that_a_capacity_takes() -> None:
    """What the helper makes passes the rules, of asynchronous fleets down to nothing."""
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
    """Hours of a day, days of a week."""
    with pytest.raises(ValidationError, match=message):
        off_hours(min_capacity=1, max_capacity=2, **changes)  # type: ignore[arg-type]  # mixed types of the table
