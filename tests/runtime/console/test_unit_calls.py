"""A unit is paused once, based on its current state."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.cli.deployed_unit import DONE, DeployedUnit

from mlops_runtime.cloud_connection import CloudConnection
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.retraining import RetrainRequest, Trigger
from mlops_runtime.contracts.unit_entries import PipelineEntry
from mlops_runtime.retraining.retraining_guard import GuardState
from mlops_runtime.retraining.retraining_start import GuardTable

Ask = Callable[..., tuple[int, dict[str, Any]]]


def test_a_pause_is_written_once(ask: Ask, unit: DeployedUnit) -> None:
    """The same key is the same request; another person's page is stale by then."""
    body = {"reason": "stocktaking", "expect": {"sequence": 0}}

    first = ask("POST", f"/units/{unit.name}/pause", body, idempotency_key="key-of-ann")
    again = ask("POST", f"/units/{unit.name}/pause", body, idempotency_key="key-of-ann")
    stale, problem = ask("POST", f"/units/{unit.name}/resume", body, idempotency_key="key-of-ben")
    _, page = ask("GET", f"/units/{unit.name}")
    now = {"reason": "done", "expect": {"sequence": page["sequence"]}}
    resumed, answer = ask("POST", f"/units/{unit.name}/resume", now, idempotency_key="key-of-cleo")

    assert first == again == (200, {"unit": unit.name, "paused": True, "record": 1, "summary": first[1]["summary"]})
    assert (stale, page["is_paused"]) == (409, True)
    assert "record 1, PAUSED, by root" in problem["detail"]
    assert (resumed, answer["paused"], answer["record"]) == (200, False, 2)
    assert [unit.unit_chain.table.read().audit_sequence, unit.problems(unit.unit_chain)] == [2, []]


def test_a_write_without_its_manners_changes_nothing(ask: Ask, unit: DeployedUnit) -> None:
    """No key, a key of another request, no reason, no JSON."""
    path, body = f"/units/{unit.name}/pause", {"reason": "stocktaking", "expect": {"sequence": 0}}

    keyless = ask("POST", path, body)
    blank = ask("POST", path, {**body, "reason": " "}, idempotency_key="key-1-of-ann")
    lines = ask("POST", path, {**body, "reason": "a\nb"}, idempotency_key="key-2-of-ann")
    form = ask("POST", path, body, idempotency_key="key-3-of-ann", content_type="text/plain")
    ask("POST", path, body, idempotency_key="key-4-of-ann")
    other = ask("POST", path, {**body, "reason": "else"}, idempotency_key="key-4-of-ann")

    assert [status for status, _ in (keyless, blank, lines, form, other)] == [400, 422, 422, 415, 409]
    assert "reason must not be blank" in blank[1]["detail"]
    assert unit.unit_chain.table.read().audit_sequence == 1


def test_a_retraining_is_asked_for_once_by_any_process(
    ask: Ask, unit: DeployedUnit, connection: CloudConnection
) -> None:
    """What began since, of the same person and for the same reason, is the answer; for another reason the page is out of date."""
    entry = PipelineEntry(
        pipeline=unit.endpoint,
        unit=unit.name,
        group=unit.endpoint,
        retraining_table=f"{unit.name}-retraining",
        retrain_machine=unit.make_machine("retrain", DONE),
        queue_url="none",
    )
    unit.publish(entry)
    begun = RetrainRequest(
        trigger=Trigger.MANUAL,
        event_id="event-1",
        as_of="2017-08-01T00:00:00Z",
        requested_by=connection.identity().user_id,
        detail="new prices",
    )
    new = GuardState(last_execution="arn:one", last_started=1, owner="arn:one", request=canonical_json(begun).decode())
    table = GuardTable(dynamodb=unit.dynamodb, table=entry.retraining_table, pipeline=entry.pipeline)
    assert table.take(GuardState(), new, datetime.now(UTC))
    path, seen = f"/units/{unit.name}/pipelines/{unit.endpoint}/retrainings", {"expect": {"last_execution": None}}

    done = ask("POST", path, {"reason": "new prices", **seen}, idempotency_key="key-of-ann")
    stale, problem = ask("POST", path, {"reason": "else", **seen}, idempotency_key="key-of-ben")

    assert done == (202, {"event": "event-1", "summary": f"requested a retraining by {unit.endpoint}"})
    assert (stale, "has changed since it was displayed" in problem["detail"]) == (409, True)


def test_the_embedded_clock_moves(ask: Ask) -> None:
    """Forward alone; what is due runs."""
    _, before = ask("GET", "/me")
    status, moved = ask("POST", "/clock", {"minutes": 90}, idempotency_key="clock-90-min")
    back, problem = ask("POST", "/clock", {"minutes": -1}, idempotency_key="clock-back-1")

    assert (status, moved["now"] > before["now"]) == (200, True)
    assert (back, "minutes must be from 1" in problem["detail"]) == (422, True)
