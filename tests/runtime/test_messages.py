"""SQS batches."""

from datetime import UTC, datetime

import pytest

from mlops_runtime.messages import Message, each, messages


def _event(*bodies: str) -> dict[str, object]:
    attributes = {"SentTimestamp": "1501578000500"}
    return {"Records": [{"messageId": f"m{i}", "body": b, "attributes": attributes} for i, b in enumerate(bodies)]}


def test_a_message_knows_when_the_queue_took_it() -> None:
    """Milliseconds of the epoch, in UTC."""
    assert messages(_event("a")) == [
        Message(id="m0", body="a", sent=datetime(2017, 8, 1, 9, 0, 0, 500_000, tzinfo=UTC))
    ]


def test_only_what_failed_stays_in_the_queue(caplog: pytest.LogCaptureFixture) -> None:
    """The others are done, before and after it."""
    done: list[str] = []

    def work(message: Message) -> None:
        if message.body == "bad":
            raise ValueError("broken")
        done.append(message.id)

    assert each(_event("a", "bad", "c"), work) == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert done == ["m0", "m2"]
    assert "message m1 failed and stays in the queue" in caplog.text
