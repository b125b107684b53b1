"""Timelines of captures: gaps, wrong clocks, late files, duplicates, disorder, and feeds that stop."""

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import boto3
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from moto import mock_aws
from scipy.stats import binom
from tests.runtime.monitor.timeline import BASELINE, LIVE, START, Captured, Timeline

from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.rollout import TakenBack
from mlops_runtime.monitor.counting.counts import empty, merge
from mlops_runtime.monitor.counting.problems import TIME_ELSEWHERE, sentence
from mlops_runtime.monitor.report_message import message
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import HOUR, Window
from mlops_runtime.monitor.window_reading import ANOTHER_BASELINE, LATE, ROLLED_BACK, UNCOUNTED, UNREADABLE

EVERY, WINDOW, HOURS = 6, 24, 60
SPEC = MonitorSpec(minimum_rows=50, merge_hours=0)
OBJECTS = st.lists(
    st.builds(
        Captured,
        hour=st.integers(0, HOURS - 1),
        rows=st.integers(0, 60),
        arrives=st.integers(0, 20),
        waits=st.sampled_from([0, 0, 0, 1, 9, None]),
        copies=st.integers(1, 3),
        skew=st.integers(-90, 90),
    ),
    max_size=25,
)
SLOW = settings(max_examples=25)


def play(timeline: Timeline, objects: list[Captured], calls: set[int], at: int) -> None:
    """Replay the events between two runs, with deliveries in reverse and repeated."""
    for hour in range(at - EVERY, at):
        if hour in calls:
            timeline.call(hour)
    due = []
    for number, captured in enumerate(objects):
        landed = captured.hour + captured.arrives
        if at - EVERY <= landed < at:
            timeline.land(f"o{number}", captured)
        counted = None if captured.waits is None else landed + captured.waits
        if counted is not None:
            copies = [copy for copy in range(captured.copies) if at - EVERY <= counted + copy < at]
            due += [(f"o{number}", captured)] * len(copies)
    for name, captured in reversed(due):
        timeline.count(name, captured)


@given(OBJECTS, st.sets(st.integers(0, HOURS - 1), max_size=20))
@example([Captured(hour=hour, rows=60) for hour in (0, 24) for _ in range(12)], set())
@SLOW
def test_there_is_always_one_state_and_every_object_counts_once(objects: list[Captured], calls: set[int]) -> None:
    """States follow from the objects that arrived and were counted; in the end each counted object is in one hour."""
    timeline, late = Timeline(window=WINDOW, every=EVERY, spec=SPEC), 0
    for at in range(EVERY, HOURS + 30 + EVERY, EVERY):
        play(timeline, objects, calls, at)
        report = timeline.run(at)
        counted = [o for o in objects if o.waits is not None and o.hour + o.arrives + o.waits < at]
        landed = [o for o in objects if o.hour + o.arrives < at]
        inside, recent = range(at - WINDOW, at), range(at - EVERY, at)
        rows = sum(o.rows for o in counted if o.hour in inside)
        assert report.rows == rows
        fresh = [o for o in counted if o.hour in recent]
        waiting = len([o for o in landed if o.hour in recent]) - len(fresh)
        if waiting > len(fresh):
            expected = MonitorState.MONITOR_NOT_RUN
        elif not any(o.rows for o in fresh):
            expected = MonitorState.NO_CAPTURE if calls & set(recent) else MonitorState.NO_TRAFFIC
        elif rows < SPEC.minimum_rows:
            expected = MonitorState.INSUFFICIENT_DATA
        else:
            apart = sum(o.rows for o in counted if o.hour in inside and not -10 <= o.skew < 70)
            is_apart = apart > 0.05 * rows and binom.sf(apart - 1, rows, 0.05) <= SPEC.significance
            expected = MonitorState.VIOLATION if is_apart else MonitorState.OK
        assert (report.drift.state, report.quality.state) == (expected, MonitorState.NO_LABELS_YET)
        assert report.state in (expected, MonitorState.NO_LABELS_YET)
        problems = Counter(report.problems or {})
        assert problems[UNCOUNTED] == len([o for o in landed if o.hour in inside]) - len(
            [o for o in counted if o.hour in inside]
        )
        late += problems[LATE]
    everything = Window(START, START + HOURS * HOUR)
    by_hour = timeline.store.counts_by_hour("v", everything)
    keys = [key for counted_at in by_hour.values() for found in counted_at.values() for key in found]
    total = merge(empty(BASELINE), timeline.store.counts(keys))
    expected_objects = [o for o in objects if o.waits is not None]
    assert (total.rows, total.objects or 0) == (sum(o.rows for o in expected_objects), len(expected_objects))
    # a run at hour t decides on the hours before t; objects counted after the run that follows their hour are late
    assert late == sum(
        o.hour // EVERY != (o.hour + o.arrives + (o.waits or 0)) // EVERY for o in expected_objects if _seen(o)
    )
    assert timeline.failed == []


def _seen(captured: Captured) -> bool:
    """Return whether a run still read the object's hour after it was counted."""
    counted = captured.hour + captured.arrives + (captured.waits or 0)
    return captured.hour >= (counted // EVERY + 1) * EVERY - WINDOW


@given(st.integers(20, 40), st.sampled_from(["calls", "capture", "counting"]), st.sampled_from([1, 3, 6]))
@settings(SLOW, max_examples=8)
def test_a_feed_that_stops_is_told_within_two_periods(stops: int, what: str, every: int) -> None:
    """No calls, no captures and uncounted captures have different states, for any length of the window."""
    timeline = Timeline(window=WINDOW, every=every, spec=SPEC)
    expected = {
        "calls": MonitorState.NO_TRAFFIC,
        "capture": MonitorState.NO_CAPTURE,
        "counting": MonitorState.MONITOR_NOT_RUN,
    }[what]
    states = {}
    for hour in range(60):
        captured = Captured(hour=hour, rows=30)
        if hour < stops or what != "calls":
            timeline.call(hour)
        if hour < stops or what == "counting":
            timeline.land(f"o{hour}", captured)
        if hour < stops:
            timeline.count(f"o{hour}", captured)
        if (hour + 1) % every == 0:
            states[hour + 1] = timeline.run(hour + 1).drift.state
    assert {state for at, state in states.items() if 6 < at <= stops} <= {
        MonitorState.OK,
        MonitorState.INSUFFICIENT_DATA,
    }
    assert {state for at, state in states.items() if at >= stops + 2 * every} == {expected}


def test_capture_lag_says_since_when_calls_are_not_captured() -> None:
    """The lag is the hours from the newest capture to the newest call, and 0 without calls."""
    timeline = Timeline(window=24, every=24, spec=SPEC)
    timeline.land("o", Captured(hour=3, rows=60))
    timeline.count("o", Captured(hour=3, rows=60))
    for hour in (2, 3, 15):
        timeline.call(hour)
    staleness = timeline.run(24).staleness
    assert staleness is not None
    assert (staleness.capture_lag_hours, staleness.label_lag_hours) == (12, 7 * 24)
    assert staleness.baseline_age_days == pytest.approx(7)
    staleness = timeline.run(48).staleness
    assert staleness is not None
    assert staleness.capture_lag_hours == 0


def test_labels_that_stopped_are_late_as_far_as_is_looked_and_labels_that_never_came_since_the_model_serves() -> None:
    """Without labels the lag starts when the model went live; with older ones it is the whole search range."""
    timeline = Timeline(window=24, every=24, spec=SPEC)
    timeline.table.live = replace(LIVE, since="2017-08-07T20:00:00Z")
    staleness = timeline.run(24).staleness
    assert staleness is not None
    assert staleness.label_lag_hours == 4
    timeline.s3.put_object(Bucket="captures", Key="labels/e/2017/06/01/00/l.jsonl", Body=b"")
    staleness = timeline.run(24).staleness
    assert staleness is not None
    assert staleness.label_lag_hours == 24 + 192


@pytest.mark.parametrize(
    ("ran", "left_out"),
    [
        ([("07T22:10", "07T23:05")], 1),
        ([("07T20:00", "07T21:00"), ("07T22:30", "07T23:30")], 3),
        ([("07T22:01", "07T22:59")], 0),
        ([("08T01:05", "08T01:20")], 0),
        ([("07T18:00", "08T01:00")], 1),
    ],
)
def test_objects_of_a_rollout_that_was_taken_back_are_left_out(ran: list[tuple[str, str]], left_out: int) -> None:
    """A rolled-back canary may have answered their calls. Earlier hours are merged instead, unless no other object remains."""
    timeline = Timeline(window=1, every=1, spec=MonitorSpec(minimum_rows=60, merge_hours=6))
    for hour in range(18, 25):
        timeline.land(f"o{hour}", Captured(hour=hour, rows=20))
        timeline.count(f"o{hour}", Captured(hour=hour, rows=20))
    times = [TakenBack(since=f"2017-08-{since}:00.123Z", until=f"2017-08-{until}:00Z") for since, until in ran]
    timeline.table.row = replace(timeline.table.row, taken_back=canonical_json(times).decode())
    report = timeline.run(25)
    assert (report.problems or {}).get(ROLLED_BACK, 0) == left_out
    merged = {0: 2, 1: 3, 3: 5}[left_out]
    if ran[0][0] == "07T18:00":
        assert (report.hours_merged, report.rows, report.drift.state) == (0, 0, MonitorState.INSUFFICIENT_DATA)
    else:
        assert (report.hours_merged, report.rows, report.drift.state) == (merged, 60, MonitorState.OK)
    assert report.suppressed is None


def test_nothing_is_late_after_a_baseline_could_not_be_used() -> None:
    """A run without a usable baseline decides on no hour; objects after the last decision are late."""
    timeline = Timeline(window=24, every=6, spec=SPEC)
    for hour in (0, 7):
        timeline.land(f"o{hour}", Captured(hour=hour, rows=60))
        timeline.count(f"o{hour}", Captured(hour=hour, rows=60))
        if hour == 0:
            timeline.run(6)
    body = timeline.s3.objects.pop(("artifacts", "baseline.json"))
    assert timeline.run(12).drift.state is MonitorState.MONITOR_NOT_RUN
    timeline.s3.put_object(Bucket="artifacts", Key="baseline.json", Body=body)
    timeline.land("late", Captured(hour=3, rows=60))
    timeline.count("late", Captured(hour=3, rows=60))
    report = timeline.run(18)
    assert (report.rows, report.problems) == (180, {LATE: 1})


def test_values_of_another_type_are_told_with_an_object_that_has_some() -> None:
    """They are reported like unreadable lines."""
    timeline = Timeline(window=6, every=6, spec=SPEC)
    captured = Captured(hour=3)
    timeline.land("o3", captured)
    key = timeline.key("o3", captured)
    body = timeline.s3.get_object(Bucket="captures", Key=key)["Body"].read()
    first = json.loads(body.splitlines()[0])
    first["captureData"]["endpointInput"]["data"] = "1.5 EUR"
    timeline.s3.put_object(Bucket="captures", Key=key, Body=json.dumps(first).encode() + b"\n" + body)
    timeline.count("o3", captured)
    report = timeline.run(6)
    assert report.problems == {"price: value is not of type number": 1}
    assert report.problem_objects == {"price: value is not of type number": key}
    assert report.problem_lines is None


def test_a_problem_is_told_with_the_newest_object_that_has_it() -> None:
    """The object may be uncounted; earlier objects and those without the problem are not named."""
    timeline = Timeline(window=6, every=6, spec=SPEC)
    for hour in (19, 20, 21):
        captured = Captured(hour=hour)
        timeline.land(f"o{hour}", captured)
        if hour < 21:
            key = timeline.key(f"o{hour}", captured)
            body = timeline.s3.get_object(Bucket="captures", Key=key)["Body"].read()
            timeline.s3.put_object(Bucket="captures", Key=key, Body=body + b"\n{")
    for hour in (20, 19, 22):
        if hour == 22:
            timeline.land("o22", Captured(hour=22))
        timeline.count(f"o{hour}", Captured(hour=hour))
    report = timeline.run(24)
    assert report.problems == {"line is not JSON": 2, UNCOUNTED: 1}
    assert report.problem_objects == {
        "line is not JSON": "capture/e/v/2017/08/07/20/o20.jsonl",
        UNCOUNTED: "capture/e/v/2017/08/07/21/o21.jsonl",
    }
    assert report.problem_lines == {"line is not JSON": (len(body.splitlines()) + 1,)}
    assert "line is not JSON: 2, the newest in " in (reported := message(report, "s3://report"))
    assert f"o20.jsonl, line {len(body.splitlines()) + 1}" in reported


def test_objects_of_another_models_columns_are_said_and_never_fine() -> None:
    """Rows without any of the model's columns are unreadable, not nulls: no drift, and not OK."""
    timeline = Timeline(window=6, every=6, spec=SPEC)
    for hour in range(6):
        captured = Captured(hour=hour, rows=60)
        timeline.land(f"o{hour}", captured)
        key = timeline.key(f"o{hour}", captured)
        lines = [
            json.loads(line) for line in timeline.s3.get_object(Bucket="captures", Key=key)["Body"].read().splitlines()
        ]
        for line in lines:
            side = line["captureData"]["endpointInput"]
            side |= {
                "encoding": "JSON",
                "observedContentType": "application/json",
                "data": '{"instances": [{"age": 41}]}',
            }
        body = "\n".join(map(json.dumps, lines)).encode()
        timeline.s3.put_object(Bucket="captures", Key=key, Body=body)
        timeline.count(f"o{hour}", captured)
    report = timeline.run(6)
    message = "row names none of the model's columns"
    assert (report.problems, report.problem_lines) == ({message: 360}, {message: (1, 2, 3)})
    assert report.state is MonitorState.VIOLATION
    assert f"100 % of 360 rows cannot be read, most often: {message}" in report.verdict


@pytest.mark.parametrize(("skew", "state"), [(180, "VIOLATION"), (-10 * 24 * 60, "NO_CAPTURE")])
def test_clocks_that_differ_are_said_and_never_fine(skew: int, state: str) -> None:
    """Calls hours after the hour of their object, or before the model went live, prevent OK."""
    timeline = Timeline(window=6, every=6, spec=SPEC)
    for hour in range(6):
        timeline.call(hour, 60)
        timeline.land(f"o{hour}", Captured(hour=hour, rows=60, skew=skew))
        timeline.count(f"o{hour}", Captured(hour=hour, rows=60, skew=skew))
    report = timeline.run(6)
    reported = sentence(TIME_ELSEWHERE())
    assert (report.problems, report.problem_lines) == ({reported: 360}, {reported: (1, 2, 3)})
    assert report.drift.state.value == state, report.verdict
    words = "100 % of 360 calls have an inferenceTime outside the hour of their capture object: clocks differ"
    assert (words in report.verdict) is (state == "VIOLATION")


@pytest.mark.parametrize(("until", "expected"), [("07T21:10", False), ("08T00:00", True), ("08T09:00", True)])
def test_an_engine_that_cannot_leave_hours_out_rests_where_a_rollout_was_taken_back(until: str, expected: bool) -> None:
    """Model Monitor's executions read the whole window, so it is not evaluated."""
    timeline = Timeline(window=1, every=1)
    times = [TakenBack(since="2017-08-07T20:00:00Z", until=f"2017-08-{until}:00Z")]
    timeline.table.row = replace(timeline.table.row, taken_back=canonical_json(times).decode())
    report = timeline.run(25, executions=lambda evidence, _: evidence)
    reason = f"a rollout was rolled back at 2017-08-{until}:00Z: the window includes calls of its model"
    assert report.suppressed == (reason if expected else None)
    assert timeline.run(25).suppressed is None


def test_counts_of_another_baseline_are_named_and_not_added() -> None:
    """After a promotion the window has calls of both models without a problem; a mix since then is reported."""
    timeline = Timeline(window=24, every=24, spec=SPEC)
    timeline.land("o", Captured(hour=3, rows=60))
    timeline.count("o", Captured(hour=3, rows=60))
    newer = replace(BASELINE, training_set_id="set-2")
    timeline.s3.put_object(Bucket="artifacts", Key="newer.json", Body=canonical_json(newer))
    timeline.table.live = replace(
        LIVE,
        baseline_uri="s3://artifacts/newer.json",
        baseline_sha256=content_hash(newer),
        training_set_id="set-2",
        since="2017-08-07T05:00:00Z",
    )
    timeline.land("p", Captured(hour=6, rows=70))
    timeline.count("p", Captured(hour=6, rows=70))
    report = timeline.run(24)
    assert (report.rows, report.drift.state, report.problems) == (70, MonitorState.OK, None)
    timeline.table.live = LIVE
    timeline.land("q", Captured(hour=7, rows=80))
    timeline.count("q", Captured(hour=7, rows=80))
    timeline.table.live = replace(
        LIVE, baseline_uri="s3://artifacts/newer.json", baseline_sha256=content_hash(newer), training_set_id="set-2"
    )
    assert timeline.run(24).problems == {ANOTHER_BASELINE: 2}


def test_broken_counts_are_named_and_the_rest_is_decided() -> None:
    """An invalid counts object is like a missing one and does not stop the monitor."""
    timeline = Timeline(window=24, every=24, spec=SPEC)
    for hour, name in enumerate("abc"):
        timeline.land(name, Captured(hour=hour, rows=60))
        timeline.count(name, Captured(hour=hour, rows=60))
    broken = next(key for bucket, key in timeline.s3.objects if bucket == "artifacts" and "/00/a." in key)
    timeline.s3.objects["artifacts", broken] = b"{}"
    report = timeline.run(24)
    assert (report.rows, report.problems) == (120, {UNREADABLE: 1})


class Hashed(str):
    """A key that counts its hash calls."""

    __slots__ = ()
    times = 0

    def __hash__(self) -> int:
        """Count the call and return the hash."""
        Hashed.times += 1
        return super().__hash__()

    __eq__ = str.__eq__


def test_the_work_grows_with_the_objects_and_no_faster() -> None:
    """With 500 objects each key is hashed a few times, not once per object."""
    timeline = Timeline(window=24, every=24, spec=SPEC)
    for number in range(500):
        captured = Captured(hour=number % 24, rows=0)
        timeline.land(f"o{number}", captured)
        target = timeline.store.counts_key(timeline.key(f"o{number}", captured), content_hash(BASELINE))
        timeline.store.put_counts(target, empty(BASELINE))
    listed = timeline.store.counts_by_hour

    def by_hour(*arguments: Any) -> Any:
        hours = listed(*arguments)
        return {hour: {Hashed(key): keys for key, keys in objects.items()} for hour, objects in hours.items()}

    timeline.store.counts_by_hour = by_hour
    Hashed.times = 0
    timeline.run(24)
    assert 0 < Hashed.times <= 5 * 500


def test_a_run_lists_and_reads_each_object_once() -> None:
    """Lists and reads captures of the window and label delay, counts, labels and earlier results once."""
    listed: Counter[str] = Counter()
    read: Counter[str] = Counter()
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        for bucket in ("artifacts", "captures"):
            s3.create_bucket(Bucket=bucket)
        timeline = Timeline(window=24, every=12, spec=replace(SPEC, label_delay_hours=36, merge_hours=24), s3=s3)
        moved = [Captured(hour=hour, rows=20, skew=600 if hour > 60 else 0) for hour in range(96)]
        for captured in moved:
            timeline.land(f"o{captured.hour}", captured)
            timeline.count(f"o{captured.hour}", captured)
            event = {"eventMetadata": {"eventId": f"o{captured.hour}-0"}, "groundTruthData": {"data": "1"}}
            key = f"labels/e/{START + captured.hour * HOUR:%Y/%m/%d/%H}/l.jsonl"
            s3.put_object(Bucket="captures", Key=key, Body=json.dumps(event).encode())
        for at in range(24, 96, 12):
            timeline.run(at)
        s3.meta.events.register(
            "after-call.s3.ListObjectsV2",
            lambda parsed, **_: listed.update(entry["Key"] for entry in parsed.get("Contents", [])),
        )
        s3.meta.events.register(
            "before-call.s3.GetObject", lambda params, **_: read.update([params["url_path"].partition("/")[2]])
        )
        report = timeline.run(96)
    assert report.drift.state is MonitorState.VIOLATION
    assert sum("capture/" in key for key in read) == 60
    assert sum("report.json" in key for key in read) >= 2
    assert {key: times for times_of in (listed, read) for key, times in times_of.items() if times > 1} == {}


def test_objects_wait_while_the_baseline_is_not_the_approved_one() -> None:
    """Nothing is counted with a changed baseline; after it is restored, a redrive counts the queued objects."""
    timeline = Timeline(window=24, every=24, spec=SPEC)
    good = timeline.s3.objects["artifacts", "baseline.json"]
    timeline.s3.objects["artifacts", "baseline.json"] = good + b" "
    timeline.table.live = replace(LIVE, baseline_sha256="0" * 64)
    captured = Captured(hour=3, rows=60)
    timeline.land("o", captured)
    timeline.count("o", captured)
    assert timeline.failed == ["o"]
    timeline.table.live = LIVE
    timeline.s3.objects["artifacts", "baseline.json"] = good
    timeline.count("o", captured)
    assert (timeline.failed, timeline.run(24).rows) == (["o"], 60)
