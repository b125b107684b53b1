"""Events reach MLflow once and in order, also after it was unavailable."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.runtime.tracking.stand_in import MlflowStandIn, mlflow_stand_in
from tests.runtime.tracking.tracked_pipeline import (
    EXECUTION,
    FINISHED,
    GROUP,
    PACKAGE,
    PROMOTED,
    SCHEDULED,
    SageMaker,
    bus_event,
    tracked_pipeline,
)

from mlops_runtime.tracking.tracking_outbox import TrackingOutbox, TrackingSettings

World = tuple[MlflowStandIn, TrackingOutbox, Any]


@pytest.fixture
def world() -> Iterator[World]:
    """A server, a pipeline and its bucket."""
    with mlflow_stand_in() as server, tracked_pipeline(server.uri) as (outbox, s3):
        yield server, outbox, s3


def _keys(s3: Any) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket="artifacts", Prefix="tracking/").get("Contents", [])]


def test_a_retraining_is_a_run_and_what_is_live_an_alias(world: World) -> None:
    """The outbox is empty afterwards; a repeated event writes the same run and version."""
    server, outbox, s3 = world
    for event in (FINISHED, PROMOTED, FINISHED):
        assert outbox.handle(event) == {"delivered": 1, "refused": 0, "waiting": 0}
    assert _keys(s3) == []
    (run,) = server.runs.values()
    assert (run["name"], run["status"], run["params"]) == ("2017-08-07-a1", "FINISHED", {"max_depth": "6"})
    assert run["tags"]["mlops.execution"] == EXECUTION
    (version,) = server.versions
    assert (version["name"], version["run_id"], server.aliases) == (GROUP, run["id"], {"live": "1"})
    assert version["tags"] == [{"key": "mlops.package", "value": PACKAGE}]


def test_a_model_that_was_live_before_gets_a_version(world: World) -> None:
    """The version has no run, because its training is unknown."""
    server, outbox, _ = world
    outbox.handle(PROMOTED)
    assert (len(server.versions), "run_id" in server.versions[0], server.aliases) == (1, False, {"live": "1"})


def test_a_retraining_that_failed_is_a_run_too(world: World) -> None:
    """The run has the known data of the failed retraining."""
    server, outbox, _ = world
    other = EXECUTION.replace("2017-08-07-a1", "2017-08-08-b2")
    outbox._sagemaker = NoJob()  # type: ignore[assignment]
    outbox.handle(bus_event("MLOps Retraining Finished", other, "FAILED", minute=3))
    (run,) = server.runs.values()
    assert (run["status"], run["metrics"], server.versions) == ("FAILED", {}, [])
    assert run["tags"]["mlops.outcome"] == "FAILED"


class NoJob(SageMaker):
    """No training job of that name ran."""

    def describe_training_job(self, **_: Any) -> Any:
        """Raise the error of SageMaker."""
        error = {"Error": {"Code": "ValidationException", "Message": "Requested resource not found."}}
        raise ClientError(error, "DescribeTrainingJob")  # type: ignore[arg-type]  # what botocore gives


def test_events_wait_in_their_order(world: World) -> None:
    """Events wait while MLflow is unavailable; the next event or the schedule delivers them, and nothing fails."""
    server, outbox, s3 = world
    server.status = 503
    assert outbox.handle(PROMOTED) == {"delivered": 0, "refused": 0, "waiting": 1}
    assert outbox.handle(FINISHED) == {"delivered": 0, "refused": 0, "waiting": 2}
    assert [key.rpartition("/")[2] for key in _keys(s3)] == [
        "20170807T120100-event-1.json",
        "20170807T120200-event-2.json",
    ]
    server.status = 200
    assert outbox.handle(SCHEDULED) == {"delivered": 2, "refused": 0, "waiting": 0}
    assert server.versions[0]["run_id"] == "run-0"


def test_what_mlflow_refuses_does_not_hold_up_the_rest(world: World) -> None:
    """The rejected event is stored with the reason."""
    server, outbox, s3 = world
    server.status = 400
    assert outbox.handle(FINISHED) == {"delivered": 0, "refused": 1, "waiting": 0}
    (key,) = _keys(s3)
    kept = json.loads(s3.get_object(Bucket="artifacts", Key=key)["Body"].read())
    assert key.startswith("tracking/demand-forecast/refused/")
    assert "MLflow rejected /api/2.0/mlflow/experiments/get-by-name (400): not now" in kept["reason"]
    assert kept["event"]["detail"]["id"] == EXECUTION


def test_what_another_address_answers_waits_until_it_is_mended(world: World) -> None:
    """Responses of another path have no error code of MLflow: no event is rejected, and the order is kept."""
    server, outbox, s3 = world
    server.prefix = "/ml"
    assert outbox.handle(FINISHED) == {"delivered": 0, "refused": 0, "waiting": 1}
    server.prefix = ""
    assert outbox.handle(PROMOTED) == {"delivered": 2, "refused": 0, "waiting": 0}
    assert _keys(s3) == []


def test_what_was_refused_is_delivered_again_after_another_declaration(world: World) -> None:
    """They are delivered once for each address and experiment, by the next event or the schedule, at most fifty at once."""
    server, outbox, s3 = world
    server.status = 400
    assert outbox.handle(FINISHED)["refused"] == 1
    assert outbox.handle(SCHEDULED) == {"delivered": 0, "refused": 0, "waiting": 0}  # by the same one it is asked once
    (key,) = _keys(s3)
    elsewhere = TrackingOutbox(
        replace(outbox._settings, place="https://mlflow.other demand"),
        outbox._mirror, s3=s3, dynamodb=outbox._dynamodb, sagemaker=SageMaker(),  # type: ignore[arg-type]
    )  # fmt: skip
    assert elsewhere.handle(SCHEDULED) == {"delivered": 0, "refused": 1, "waiting": 0}
    (other,) = _keys(s3)
    assert (other != key, other.rpartition("/")[2]) == (True, key.rpartition("/")[2])
    server.status = 200
    assert elsewhere.handle(SCHEDULED) == {"delivered": 0, "refused": 0, "waiting": 0}
    assert outbox.handle(SCHEDULED) == {"delivered": 1, "refused": 0, "waiting": 0}
    assert _keys(s3) == []
    # as they were kept before the address was part of the key
    body = json.dumps({"reason": "x", "event": {name: FINISHED[name] for name in ("detail-type", "detail", "time")}})
    for number in range(60):
        s3.put_object(Bucket="artifacts", Key=f"tracking/demand-forecast/refused/{number:02}.json", Body=body)
    assert outbox.handle(SCHEDULED)["delivered"] == 50
    assert outbox.handle(SCHEDULED) == {"delivered": 10, "refused": 0, "waiting": 0}


def test_one_delivers_at_a_time(world: World) -> None:
    """A second process leaves the event to the first; a lock that was never released expires."""
    server, outbox, _ = world
    with outbox._alone(datetime(2017, 8, 7, 12, tzinfo=UTC)) as first:
        assert first
        assert outbox.handle(FINISHED) == {"delivered": 0, "refused": 0, "waiting": 1}
    assert outbox.handle(SCHEDULED)["delivered"] == 1
    assert len(server.runs) == 1


def test_settings_come_from_the_environment() -> None:
    """They are variables of the function."""
    names = (
        "PIPELINE", "ENDPOINT", "ARTIFACTS_BUCKET", "RETRAINING_TABLE", "ROLLOUT_TABLE", "TRACKING_URI", "EXPERIMENT"
    )  # fmt: skip
    found = TrackingSettings.from_environment({name: name.lower() for name in names})
    assert (found.pipeline, found.artifacts, found.rollout_table) == ("pipeline", "artifacts_bucket", "rollout_table")
    assert found.place == "tracking_uri experiment"
