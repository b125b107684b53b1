"""Freeze calendar, pause, and the entries by which the command finds a unit."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from mlops_runtime.contracts import from_dict
from mlops_runtime.contracts.automation import FreezeSpec, PipelineEntry


def test_a_freeze_window_keeps_its_offset(example: Callable[..., Any]) -> None:
    """Midnight in Berlin is not midnight in UTC."""
    freeze = from_dict(FreezeSpec, example("FreezeSpec", **{"windows.0.start": "2017-11-20T00:00:00+01:00"}))

    assert freeze.windows[0].start == datetime(2017, 11, 19, 23, tzinfo=UTC)
    assert freeze.windows[0].start.utcoffset() == timedelta(hours=1)


def test_an_entry_that_lacks_a_name_says_which(
    refusal: Callable[[type, object], str], example: Callable[..., Any]
) -> None:
    """The command shows this to a person."""
    assert "$.queue_url is missing" in refusal(PipelineEntry, example("PipelineEntry", queue_url=...))
