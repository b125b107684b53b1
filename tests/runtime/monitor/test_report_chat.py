"""A report as a chat notification: AWS's documented fields, with plain text only."""

import re
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from tests.runtime.monitor import reports

from mlops_runtime.contracts import to_dict
from mlops_runtime.monitor.report_chat import chat_notification

URI = "s3://bucket/monitor/demand-forecast/reports/2017-08-08T06/report.json"
TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "array", "items": TEXT}
# the table of https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["version", "source", "content"],
    "additionalProperties": False,
    "properties": {
        "version": {"const": "1.0"},
        "source": {"const": "custom"},
        "id": TEXT,
        "content": {
            "type": "object",
            "required": ["description"],
            "additionalProperties": False,
            "properties": {
                "textType": {"const": "client-markdown"},
                "title": TEXT,
                "description": TEXT,
                "nextSteps": TEXTS,
                "keywords": TEXTS,
            },
        },
        "metadata": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "threadId": TEXT,
                "summary": TEXT,
                "eventType": TEXT,
                "relatedResources": TEXTS,
                "additionalContext": {"type": "object", "additionalProperties": TEXT},
            },
        },
    },
}


@pytest.mark.parametrize("name", sorted(reports.SAMPLES))
def test_every_report_is_a_notification(name: str) -> None:
    """Drift, silence and a changed baseline give the event, the action and the location of the report."""
    report = reports.SAMPLES[name]().report
    found = to_dict(chat_notification(report, URI))
    jsonschema.validate(found, SCHEMA)
    assert found["metadata"]["threadId"] == report.endpoint
    assert found["metadata"]["relatedResources"] == [URI]
    assert found["content"]["nextSteps"][-1] == f"`mlops monitor report {report.endpoint}`"


def test_one_report_has_one_id() -> None:
    """A repeated run has the same id; the next window has another."""
    report = reports.SAMPLES["drifting"]().report
    later = replace(report, window_until="2017-08-09T06:00:00Z")
    ids = {chat_notification(each, URI).id for each in (report, report, later)}
    assert len(ids) == 2


def test_names_of_columns_are_text() -> None:
    """Column names cannot form mentions, links or the end of a block."""
    report = replace(
        reports.SAMPLES["drifting"]().report,
        verdict='demand: drift: "<!channel>" @here <@U024BE7LH> <https://evil.example|price> & more',
    )
    found = chat_notification(report, URI)
    for text in (found.content.description, found.metadata.summary if found.metadata else ""):
        assert text is not None
        assert not re.search(r"[<>]|@\w|&(?!amp;|lt;|gt;)", text)
        assert "&lt;!channel&gt;" in text
