"""The function of the probation's schedule."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws
from rollout_world import ENVIRONMENT, World

HANDLER = Path(__file__).resolve().parents[2] / "lambdas" / "rollout_probation" / "handler.py"


def test_it_ends_the_schedule_where_nothing_is_on_probation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads the row, and disables the rule by its name."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location("rollout_probation_handler", HANDLER)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    with mock_aws():
        World()
        spec.loader.exec_module(module)
        rule = "demand-forecast-probation"
        module.WATCH.events.put_rule(Name=rule, ScheduleExpression="rate(1 hour)")
        assert module.handler({"time": "2017-08-01T10:00:00Z"}, None).startswith("no probation is active")
        assert module.WATCH.events.describe_rule(Name=rule)["State"] == "DISABLED"
