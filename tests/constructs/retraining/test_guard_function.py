"""Limits of retraining: defaults of the guard, and validation."""

import aws_cdk as cdk

from mlops_constructs import GuardPolicy
from mlops_constructs.retraining.guard_function import GuardLimits
from mlops_runtime.retraining.retraining_guard import GuardSettings

DAY = cdk.Duration.days(1)


def test_it_asks_again_every_hour_and_counts_nothing():
    """Active alarms are checked hourly; labels are not counted by default."""
    policy = GuardPolicy()
    assert policy.recheck_interval.to_hours() == 1
    assert (policy.rejected_cooldown, policy.min_labels) == (None, None)


def test_what_is_declared_is_what_the_guard_reads():
    """The function parses every variable to the declared value."""
    policy = GuardPolicy(recheck_interval=DAY, rejected_cooldown=cdk.Duration.days(3), min_labels=500)
    limits = GuardLimits(policy=policy, label_table="sales_v1")
    assert [problem for problem in limits.problems() if problem is not None] == []
    read = GuardSettings.from_environment(
        {"PIPELINE": "demand-forecast", "RETRAIN_MACHINE_ARN": "arn", **limits.environment()}
    )
    assert (read.cool_down, read.daily_budget, read.rejected_cool_down) == (86400, 2, 259200)
    assert (read.minimum_labels, read.label_table) == (500, "sales_v1")


def test_fails_with_every_limit_that_is_not_possible():
    """Reports them all at once; rows of a set from S3 cannot be counted."""
    policy = GuardPolicy(
        recheck_interval=cdk.Duration.seconds(30),
        rejected_cooldown=cdk.Duration.hours(1),
        min_labels=500,
        max_runs_per_day=25,
    )
    limits = GuardLimits(policy=policy)
    found = [problem.split()[0] for problem in limits.problems() if problem is not None]
    assert found == ["max_runs_per_day", "rejected_cooldown", "recheck_interval", "min_labels"]
