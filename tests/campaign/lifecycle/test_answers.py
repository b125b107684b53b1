"""Durations of custom resources' responses, read from the events of an operation."""

from dataclasses import dataclass

from tests.campaign.lifecycle.answers import calls, overdue

RESOURCES = {
    "Spec": {"Type": "Custom::Spec", "Properties": {"ServiceTimeout": "660"}},
    "Old": {"Type": "AWS::CloudFormation::CustomResource", "Properties": {}},
    "Key": {"Type": "AWS::KMS::Key"},
}


@dataclass(frozen=True)
class _Event:
    logical_id: str
    status: str
    at: float


def _events(*rows: tuple[str, str, float]) -> list[_Event]:
    return [_Event(*row) for row in rows]


def test_a_call_is_timed_from_its_question_to_its_answer() -> None:
    """Only calls of custom resources are timed; one without a ServiceTimeout has an hour."""
    found = calls(
        _events(
            ("Key", "CREATE_IN_PROGRESS", 0.0), ("Spec", "CREATE_IN_PROGRESS", 1.0), ("Key", "CREATE_COMPLETE", 900.0),
            ("Spec", "CREATE_COMPLETE", 34.0), ("Old", "DELETE_IN_PROGRESS", 40.0), ("Old", "DELETE_FAILED", 1840.0),
        ),
        RESOURCES,
    )  # fmt: skip
    assert [(call.logical_id, call.request, call.share) for call in found] == [
        ("Spec", "CREATE", 0.05),
        ("Old", "DELETE", 0.5),
    ]
    assert overdue(found) == []


def test_a_call_that_takes_its_whole_time_is_named() -> None:
    """A timeout ends the wait in that very second."""
    found = calls(_events(("Spec", "UPDATE_IN_PROGRESS", 0.0), ("Spec", "UPDATE_FAILED", 660.0)), RESOURCES)
    assert overdue(found) == ["UPDATE of Spec took 660 s of the 660 s of its ServiceTimeout"]
