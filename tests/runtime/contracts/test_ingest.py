"""The report of a rejected batch."""

from collections.abc import Callable
from typing import Any

import pytest

from mlops_runtime.contracts import from_dict
from mlops_runtime.contracts.events import features_rejected
from mlops_runtime.contracts.ingest import RejectedBatch


def test_report_and_event_name_the_same_batch(example: Callable[..., Any]) -> None:
    """Whoever hears the event finds the object and the report."""
    report = from_dict(RejectedBatch, example("RejectedBatch"))

    told = features_rejected(
        report.table, reason=report.problems[0], uri=report.uri, report_uri="s3://b/rejected/x.json", rejection_id="r"
    )

    assert (told.subject, told.outcome, told.attributes["uri"]) == (report.table, "REJECTED", report.uri)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"problems": "all"}, "$.problems must be an array, got 'all'"),
        ({"etag": ...}, "$.etag is missing"),
        ({"bytes": "many"}, "$.bytes must be an integer, got 'many'"),
        ({"format": "mlops.rejected-batch/2"}, "$.format must be one of 'mlops.rejected-batch/1', got 'mlops.rejected-batch/2'"),
    ],
)  # fmt: skip
def test_fails_on_what_is_no_report(
    changes: dict[str, Any], message: str, example: Callable[..., Any], refusal: Callable[..., str]
) -> None:
    """Problems are a list, and another major version is not guessed at."""
    assert refusal(RejectedBatch, example("RejectedBatch", **changes)) == f"not a valid RejectedBatch: {message}"
