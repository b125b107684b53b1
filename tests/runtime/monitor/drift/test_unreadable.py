"""A feed whose rows cannot be read is told by the next run, in one window and without rows merged over it."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.runtime.monitor.timeline import BASELINE, START, Captured, Timeline

from mlops_runtime.contracts.monitor import MonitorReport, MonitorState
from mlops_runtime.monitor.counting.counts import count, empty
from mlops_runtime.monitor.counting.problems import ROW_WIDTH, bounded
from mlops_runtime.monitor.drift.unreadable import unreadable
from mlops_runtime.monitor.spec import MonitorSpec

SHORT = "row has 2 values instead of 1"


def feed(timeline: Timeline, hour: int, *, good: int, broken: int) -> MonitorReport:
    """Capture an object of some calls that can be read and some of two columns, and decide in the hour after it."""
    captured = Captured(hour=hour, rows=good)
    timeline.call(hour, good + broken)
    timeline.land(f"o{hour}", captured)
    key = ("captures", timeline.key(f"o{hour}", captured))
    record: Any = json.loads(timeline.s3.objects[key].splitlines()[0])
    record["captureData"]["endpointInput"]["data"] = "1,2"
    timeline.s3.objects[key] = b"\n".join(
        [*timeline.s3.objects[key].splitlines()[:good], *[json.dumps(record).encode()] * broken]
    )
    timeline.count(f"o{hour}", captured)
    return timeline.run(hour + 1)


@pytest.mark.parametrize(
    ("good", "broken", "expected"),
    [
        (1, 5000, MonitorState.VIOLATION),
        (300, 9700, MonitorState.VIOLATION),
        (940, 60, MonitorState.OK),  # 6 %: too few rows to say that it is above 5 %
        (9300, 700, MonitorState.VIOLATION),
        (960, 40, MonitorState.OK),
        (100, 50, MonitorState.INSUFFICIENT_DATA),
    ],
)
def test_many_rows_that_cannot_be_read_are_a_violation(good: int, broken: int, expected: MonitorState) -> None:
    """Whatever the rest looks like; a few are only named among the problems."""
    timeline = Timeline(window=1, every=1, spec=MonitorSpec(merge_hours=0))
    report = feed(timeline, 0, good=good, broken=broken)
    assert report.drift_state is expected
    assert report.problems == {SHORT: broken}
    found = [feature.description for feature in report.features if feature.name == "unreadable_rows"]
    if expected is not MonitorState.VIOLATION:
        assert found == []
        return
    [said] = found
    assert str(said).endswith(f"of {good + broken:,} rows cannot be read, most often: {SHORT}")
    assert f"e: {said}" in str(report.verdict)
    [told] = timeline.bus.heard
    assert told["outcome"] == "VIOLATION"
    assert told["attributes"]["advice"].startswith("ask the callers what they changed")
    lines = [
        json.loads(line)["constraint_check_type"]
        for (_, key), body in timeline.s3.objects.items()
        if key.endswith("violations.jsonl")
        for line in body.splitlines()
    ]
    assert sorted(lines) == ["extra_column_check", "unreadable_rows_check"]


def test_rows_of_hours_before_do_not_hide_it() -> None:
    """A window has rows enough when they came, read or not."""
    timeline = Timeline(window=1, every=1)
    for hour in range(30):
        assert feed(timeline, hour, good=400, broken=0).drift_state is MonitorState.OK
    report = feed(timeline, 30, good=100, broken=900)
    assert (report.drift_state, report.hours_merged) == (MonitorState.VIOLATION, 0)


def test_rows_of_any_number_of_widths_are_all_counted() -> None:
    """Names of problems are bounded, how many rows they are of is not."""
    widths = {ROW_WIDTH(width, 1): 10 for width in range(2, 402)}
    [found] = unreadable(replace(empty(BASELINE), rows=4000, problems=bounded(widths)), MonitorSpec())
    assert str(found.description).startswith("50 % of 8,000 rows cannot be read, most often: row has ")
    assert "another reason" not in str(found.description)


def test_a_call_of_many_rows_counts_by_its_rows() -> None:
    """One line of a thousand short rows is a thousand rows."""
    side = {"observedContentType": "text/csv", "mode": "INPUT", "encoding": "CSV", "data": "\n".join(["1,2"] * 1000)}
    line = {
        "captureData": {"endpointInput": side},
        "eventMetadata": {"eventId": "e", "inferenceTime": f"{START + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"},
    }
    [found] = unreadable(count([json.dumps(line)], BASELINE), MonitorSpec())
    assert found.description == f"100 % of 1,000 rows cannot be read, most often: {SHORT}"
