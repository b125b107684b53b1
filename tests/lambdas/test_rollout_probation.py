"""The function of the probation's schedule."""

import pytest
from moto import mock_aws
from tests.loaded_module import load_handler
from tests.runtime.rollout.world import ENVIRONMENT, World


def test_it_ends_the_schedule_where_nothing_is_on_probation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads the row, and disables the rule by its name."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        World()
        module = load_handler("rollout_probation")
        rule = "demand-forecast-probation"
        module.WATCH.events.put_rule(Name=rule, ScheduleExpression="rate(1 hour)")
        assert module.handler({"time": "2017-08-01T10:00:00Z"}, None).startswith("no probation is active")
        assert module.WATCH.events.describe_rule(Name=rule)["State"] == "DISABLED"
