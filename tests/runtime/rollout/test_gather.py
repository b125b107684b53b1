"""Facts, read at their sources."""

from dataclasses import replace

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from rollout_world import PACKAGE, SPEC, World

from mlops_runtime.rollout.gather import alarm_states


def test_facts_of_an_empty_account(world: World) -> None:
    """Nothing is there, and that is not an error."""
    facts = world.sources.facts(world.request("spec"))
    assert (facts.spec, facts.serving, facts.package, facts.alarm_states) == (None, None, None, {})


def test_facts_are_of_the_desired_spec_whatever_was_asked_for(world: World) -> None:
    """A request that waited for the lock deploys what is desired now."""
    first = world.store()
    newer = replace(SPEC, instance_count=4)
    world.store(newer)
    facts = world.sources.facts(replace(world.request("spec"), spec_uri=first))
    assert facts.spec == newer


def test_the_package_of_a_rollback_is_the_previous_configs(world: World) -> None:
    """Found through the config and the model, not through anything that the request says."""
    old, new = world.package(), world.package(spec=replace(PACKAGE, training_set_id="d" * 64))
    world.version("v1", old)
    world.version("v2", new)
    world.serve("v2")
    world.point(world.pointer("v2", new, previous="v1"))
    facts = world.sources.facts(world.request("rollback", package=new))
    assert facts.package is not None
    assert facts.package["ModelPackageArn"] == old


def test_metric_and_composite_alarms_are_read() -> None:
    """A rollback alarm may be either; without AlarmTypes CloudWatch answers with metric alarms only."""
    cloudwatch = boto3.client("cloudwatch", region_name="us-east-1")
    asked = {"AlarmNames": ["errors", "all", "none"], "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]}
    answer = {
        "MetricAlarms": [{"AlarmName": "errors", "StateValue": "OK"}],
        "CompositeAlarms": [{"AlarmName": "all", "StateValue": "ALARM"}],
    }
    with Stubber(cloudwatch) as stub:
        stub.add_response("describe_alarms", answer, asked)
        assert alarm_states(cloudwatch, ["errors", "all", "none"]) == {"errors": "OK", "all": "ALARM"}
        stub.assert_no_pending_responses()
        assert alarm_states(cloudwatch, []) == {}


def test_fails_when_the_desired_spec_lies_in_another_bucket(world: World) -> None:
    """Only the unit's own bucket is read."""
    world.table.set_desired("s3://elsewhere/specs/demand-forecast/x.json")
    with pytest.raises(ClientError, match="NoSuchKey"):
        world.sources.facts(world.request("spec"))
