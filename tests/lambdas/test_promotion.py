"""The functions of a promotion target as Lambda calls them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from tests.released import SOURCE, TARGET, release
from tests.reported import GROUP, SETTINGS, event

from mlops_runtime.contracts import canonical_json
from mlops_runtime.promotion.downstream_table import DownstreamTable
from mlops_runtime.promotion.target_environment import PromotionSettings, ServedSettings

ONE = release()
EXECUTION = "arn:aws:states:eu-west-1:222222222222:execution:Promote:one-1"
ASKED = {"record_uri": ONE.uri, "record_sha256": ONE.sha256, "execution": EXECUTION, "now": "2017-08-01T09:00:00.000Z"}


@pytest.fixture
def handler(world: Any, load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Callable[[str, object], Any]:
    """Return a function that calls a function of the folder ``promotion_...``."""
    source = PromotionSettings(group="demand-forecast", source=SOURCE, source_name="build", max_wait_seconds=21600)
    for name, value in {
        "ACCOUNT": TARGET.account,
        "AWS_REGION": TARGET.region,
        "PROMOTION": canonical_json(source).decode(),
        "PROMOTIONS_TABLE": "promotions",
        "PROMOTE_MACHINE_ARN": world.stepfunctions.create_state_machine(
            name="Promote",
            definition=json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}),
            roleArn="arn:aws:iam::123456789012:role/promote",
        )["stateMachineArn"],
        "RECHECK_RULE": "arn:aws:events:eu-west-1:222222222222:rule/recheck",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("dynamodb").create_table(
        TableName="promotions",
        AttributeDefinitions=[{"AttributeName": "endpoint", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "endpoint", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return lambda folder, event: load(folder).handler(event, None)


def test_the_guard_starts_what_is_offered(handler: Callable[[str, object], Any], world: Any) -> None:
    """Returns an empty list of failed messages."""
    sent = str(int(datetime(2017, 8, 1, 9, tzinfo=UTC).timestamp() * 1000))
    message = {"messageId": "m", "body": json.dumps(ONE.event()), "attributes": {"SentTimestamp": sent}}
    assert handler("promotion_guard", {"Records": [message]}) == {"batchItemFailures": []}
    (machine,) = [
        each["stateMachineArn"]
        for each in world.stepfunctions.list_state_machines()["stateMachines"]
        if each["name"] == "Promote"
    ]
    assert len(world.stepfunctions.list_executions(stateMachineArn=machine)["executions"]) == 1


def test_the_source_keeps_what_a_target_serves(
    handler: Callable[[str, object], Any], world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Returns an empty list of failed messages, also for an event without changes."""
    settings = ServedSettings(group=GROUP, targets=SETTINGS.targets)
    for name, value in {
        "ACCOUNT": SOURCE.account,
        "AUTOMATION_TABLE": "promotions",
        "BUS": "unit",
        "RULES": "[]",
        "SERVED_MODELS": canonical_json(settings).decode(),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ENDPOINT")
    world.s3.put_object(Bucket="artifacts", Key=ONE.key, Body=ONE.content)
    sent = str(int(datetime(2017, 8, 1, 9, tzinfo=UTC).timestamp() * 1000))
    messages = [
        {"messageId": f"m{number}", "body": json.dumps(reported), "attributes": {"SentTimestamp": sent}}
        for number, reported in enumerate((event(), event(account="444444444444")))
    ]
    assert handler("served_models", {"Records": messages}) == {"batchItemFailures": []}
    known = DownstreamTable(boto3.client("dynamodb"), "promotions", GROUP).read()
    assert [(each.name, each.serves and each.serves.released_as) for each in known.states] == [
        ("staging", "demand-forecast/7")
    ]


def test_a_plan_refuses_what_is_not_the_release(handler: Callable[[str, object], Any], world: Any) -> None:
    """Reads the objects that the machine copied."""
    world.s3.put_object(Bucket="artifacts", Key="incoming/demand-forecast/one-1/record.json", Body=b"{}")
    assert handler("promotion_plan", ASKED)["verdict"] == "REFUSED"


def test_a_refusal_is_recorded(handler: Callable[[str, object], Any]) -> None:
    """Records the step that the machine names."""
    claim = {
        **ASKED,
        "step": "record",
        "outcome": "REFUSED",
        "reason": "other unit",
        "package": "",
        "binding": "",
        "facts": {},
    }
    assert handler("promotion_keep", claim) == {"is_news": True, "package": "", "reason": "other unit"}
