"""Messages to the guard, and a guard of a small world."""

import json
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from tests.runtime.rollout.world import NOW, World

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.events import features_ingested
from mlops_runtime.lambda_protocol import Message
from mlops_runtime.retraining.request_evidence import AlarmEvidence
from mlops_runtime.retraining.retraining_guard import GuardSettings
from mlops_runtime.retraining.retraining_start import RetrainGuard

if TYPE_CHECKING:
    from mlops_runtime.business_unit.automation import Automation

ANNA = "AROAEXAMPLEOFAROLE:anna"
HERE = {"account": "123456789012", "region": "us-east-1"}
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:Retrain"
SETTINGS = GuardSettings(
    pipeline="demand-forecast", machine_arn=MACHINE, alarms=("demand-drift",), cool_down=86_400, daily_budget=2
)


class Resting:
    """A unit's automation, paused for the given reasons."""

    def __init__(self, frozen: str | None = None, paused: str | None = None) -> None:
        self._frozen, self._paused = frozen, paused

    def frozen(self, _: datetime) -> str | None:
        """Return the freeze window in effect."""
        return self._frozen

    def rests(self, _: datetime) -> str | None:
        """Return the reasons for the pause of automatic work."""
        return self._paused or self._frozen


def guard_of(world: World, **changes: Any) -> RetrainGuard:
    """Return a guard, with changes."""
    made = RetrainGuard(
        dynamodb=world.dynamodb,
        stepfunctions=world.stepfunctions,
        table="retraining",
        settings=SETTINGS,
        automation=cast("Automation", Resting()),
        evidence=AlarmEvidence(
            cloudwatch=world.cloudwatch, s3=world.s3, bucket="artifacts", endpoint="demand-forecast", unit="demand"
        ),
        ingested=lambda table, ingest: INGESTED.get((table, ingest)),
        approval=APPROVALS.get,
    )
    return replace(made, **changes)


def alarm_message(event_id: str = "e1", at: datetime = NOW, manual: bool = False, **changes: Any) -> Message:
    """Return an alarm's message, or a person's."""
    event: dict[str, Any] = {"id": event_id, **HERE, "time": at.isoformat()}
    if manual:
        detail = {"id": event_id, "subject": "demand-forecast", "outcome": "REQUESTED"}
        event |= {"detail-type": "MLOps Retraining Requested", "source": f"mlops.demand/{ANNA}", "detail": detail}
    else:
        detail = {"alarmName": "demand-drift", "state": {"value": "ALARM"}}
        event |= {"detail-type": "CloudWatch Alarm State Change", "source": "aws.cloudwatch", "detail": detail}
        event["resources"] = ["arn:aws:cloudwatch:us-east-1:123456789012:alarm:demand-drift"]
    return Message(id=f"m-{event_id}", body=json.dumps(event | changes), sent=at)


def brought_message(event_id: str, at: datetime = NOW, *, sha256: str = "a" * 64, again: bool = False) -> Message:
    """Return the message of a person who submits a model."""
    uri = f"s3://artifacts/registered/demand-forecast/{sha256}/model.tar.gz"
    attributes = {"candidate": json.dumps({"uri": uri, "sha256": sha256})} | ({"again": "true"} if again else {})
    detail = {"id": sha256, "subject": "demand-forecast", "outcome": "REQUESTED", "attributes": attributes}
    return alarm_message(event_id, at, manual=True, detail=detail)


def keep_outcome(world: World, execution: str, outcome: str, *, sha256: str = "a" * 64, package: str = "") -> None:
    """Write the outcome of an archive, as the Retrain machine does before it releases its lock."""
    values = {"outcome": outcome, "execution": execution, "at": "2017-08-01T10:00:00.000Z", "package": package}
    world.dynamodb.put_item(
        TableName="retraining",
        Item={
            "pipeline": {"S": "demand-forecast"},
            "item": {"S": f"CANDIDATE#{sha256}"},
            **{name: {"S": value} for name, value in (values | {"reason": "r", "predictions_uri": ""}).items()},
        },
    )


def item(world: World, name: str) -> dict[str, Any]:
    """Return an item of the pipeline."""
    key = {"pipeline": {"S": "demand-forecast"}, "item": {"S": name}}
    return dict(world.dynamodb.get_item(TableName="retraining", Key=key).get("Item", {}))


RULE = "arn:aws:events:us-east-1:123456789012:rule/recheck"


def event_message(event_id: str, at: datetime, source: str, kind: str, **fields: Any) -> Message:
    """Return the message of an event."""
    event = {"id": event_id, **HERE, "time": at.isoformat(), "source": source, "detail-type": kind}
    return Message(id=f"m-{event_id}", body=json.dumps(event | fields), sent=at)


INGESTED: dict[tuple[str, str], int] = {}
APPROVALS: dict[str, str] = {}  # of packages in the registry


def labels_message(event_id: str, rows: int, *, announced: int | None = None) -> Message:
    """Return the message of an ingest with the appended and the reported number of rows."""
    INGESTED["weekly_demand_v1", event_id] = rows
    detail = to_dict(
        features_ingested("weekly_demand_v1", rows=rows if announced is None else announced, ingest_id=event_id)
    )
    return event_message(event_id, NOW, "mlops.demand", "MLOps Features Ingested", detail=detail)


def recheck_message(event_id: str, at: datetime) -> Message:
    """Return the message of the recheck rule."""
    return event_message(event_id, at, "aws.events", "Scheduled Event", resources=[RULE], detail={})


def ended_message(event_id: str, execution: str, status: str) -> Message:
    """Return the message of an execution's end."""
    detail = {"executionArn": execution, "status": status}
    return event_message(event_id, NOW, "aws.states", "Step Functions Execution Status Change", detail=detail)


def release(world: World, owner: str, outcome: str = "APPROVED") -> None:
    """Release the lock like the Retrain machine."""
    world.dynamodb.update_item(
        TableName="retraining",
        Key={"pipeline": {"S": "demand-forecast"}, "item": {"S": "STATE"}},
        UpdateExpression="SET last_outcome = :outcome REMOVE #owner, lock_until",
        ConditionExpression="#owner = :me",
        ExpressionAttributeNames={"#owner": "owner"},
        ExpressionAttributeValues={":me": {"S": owner}, ":outcome": {"S": outcome}},
    )
