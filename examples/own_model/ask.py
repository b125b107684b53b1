"""Asks for a training, in the caller's own name: ``python -m examples.own_model.ask BUS REASON``."""

import json
import sys
import uuid

import boto3

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.events import DetailType, EventDetail, request_source

UNIT, PIPELINE = "clinic", "clinic-progress"


def ask(bus: str, reason: str) -> None:
    """Put the event on the unit's bus; the guard decides, and the pipeline trains."""
    caller = boto3.client("sts").get_caller_identity()["UserId"]
    detail = EventDetail(id=str(uuid.uuid4()), subject=PIPELINE, outcome="REQUESTED", reason=reason)
    entry = {
        "EventBusName": bus,
        "Source": request_source(UNIT, caller),
        "DetailType": DetailType.RETRAINING_REQUESTED.value,
        "Detail": json.dumps(to_dict(detail)),
    }
    answer = boto3.client("events").put_events(Entries=[entry])
    if answer["FailedEntryCount"]:
        raise SystemExit(f"the bus refused the request: {answer['Entries']}")


if __name__ == "__main__":
    ask(sys.argv[1], sys.argv[2])
