"""Messages of reports, also for a chat: AWS's documented fields, with plain text only."""

import re
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from tests.runtime.monitor import reports
from tests.runtime.monitor.evidence import EVIDENCE, FULL, GOOD, QUIET, changed, drift_of, report_of
from tests.runtime.monitor.reports import NO_LABELS

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import BiasMetric, BiasResult, LatencyResult, Measured
from mlops_runtime.monitor.report_message import (
    are_many,
    chat_notification,
    message,
    problems,
    problems_text,
    short_flaw,
    verdict,
)
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window_evidence import Evidence, Traffic

REPORT = reports.quiet().report  # 1,000 rows
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


def test_the_most_frequent_stand_first() -> None:
    """Ties are broken by name."""
    found = replace(REPORT, problems={"a": 1, "z": 9, "c": 2, "b": 2})

    assert problems(found) == [("z", 9), ("b", 2), ("c", 2), ("a", 1)]
    assert problems_text(found) == "z (9); b (2); c (2); 1 more kind"
    assert problems_text(REPORT) == ""


def test_problems_of_a_monitor_are_among_them() -> None:
    """Problems in a monitor's result are included; one found by two monitors counts twice."""
    quality = replace(REPORT.quality, problems={"label is not a number": 3, "a": 1})

    assert problems(replace(REPORT, problems={"a": 1}, quality=quality)) == [("label is not a number", 3), ("a", 2)]


def test_more_than_one_in_a_hundred_is_much() -> None:
    """Applies also with zero rows."""
    assert not are_many(REPORT)
    assert not are_many(replace(REPORT, problems={"line is not JSON": 10}))
    assert are_many(replace(REPORT, problems={"line is not JSON": 11}))
    assert are_many(replace(REPORT, rows=0, problems={"line is not JSON": 1}))


def test_a_flaw_of_the_baseline_is_no_problem_beside_it() -> None:
    """The flaw is the verdict and not a separate problem."""
    flaw = "the baseline s3://artifacts/b.json is missing, or may not be read"

    assert problems(replace(REPORT, baseline_flaw=flaw, problems={flaw: 1, "line is not JSON": 2})) == [
        ("line is not JSON", 2)
    ]
    assert short_flaw(flaw) == "the baseline is missing, or may not be read"


WAPE = Measured(name="wape", value=0.4123, low=0.391, high=0.43, baseline=0.4, violated=False)
MEASURED = changed(FULL, quality=replace(GOOD, metrics=(WAPE,)))
PRICE = replace(
    QUIET, psi=0.2, p_value=1e-9, drifted=True, persistent=True, description="mean rose 12 %, from 4.1 to 4.59"
)
STORE = replace(PRICE, name="store", p_value=1e-12, description="level 'X' never seen before: 1.2 % of rows")


def message_of(evidence: Evidence, spec: MonitorSpec | None = None) -> str:
    """Return the verdict on the evidence."""
    return verdict(report_of(evidence, spec or MonitorSpec()))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "no drift in 1,000 rows; quality holds (WAPE 0.412, 0.391 to 0.43)"),
        (
            {"drift": drift_of(PRICE, STORE)},
            "drift in 2 of 3 windows: store (level 'X' never seen before: 1.2 % of rows), price (mean rose 12 %, from 4.1 to "
            "4.59); "
            "quality holds (WAPE 0.412, 0.391 to 0.43)",
        ),
        (
            {"drift": drift_of(replace(PRICE, persistent=False)), "quality": NO_LABELS},
            "drift in this window, not yet in 2 of 3: price (mean rose 12 %, from 4.1 to 4.59); no labels yet",
        ),
        (
            {"quality": replace(GOOD, metrics=(replace(WAPE, value=0.6, violated=True),))},
            "no drift in 1,000 rows; quality fell (WAPE 0.6, 0.391 to 0.43; holdout 0.4)",
        ),
        (
            {"rows": 120, "quality": replace(GOOD, rows=20)},
            "120 rows are too few to decide about drift, 200 are needed; 20 labelled rows are too few to decide about quality, "
            "100 are needed",
        ),
        (
            {"quality": replace(GOOD, rows=0, unjudged="no label can be used, label is not a number: 9")},
            "no drift in 1,000 rows; quality is not evaluated: no label can be used, label is not a number: 9",
        ),
        ({"traffic": Traffic(invocations=5), "rows": 0, "quality": None}, "calls were made, but none was captured; no labels yet"),
        ({"traffic": Traffic(uncounted=5), "quality": None}, "captures of the newest hours are not counted; no labels yet"),
        ({"live": None}, "no model is live yet"),
        ({"flaw": "the baseline was changed"}, "nothing is decided, the baseline was changed"),
        (
            {"suppressed": "a rollout is running: 7", "quality": None},
            "no drift in 1,000 rows; no labels yet; drift is not published, a rollout is running: 7",
        ),
    ],
)  # fmt: skip
def test_a_sentence_for_each_state(change: dict[str, Any], expected: str) -> None:
    """Lists drift by effect and windows, the most certain first, and quality with its interval."""
    assert message_of(changed(MEASURED, **change)) == f"demand-forecast: {expected}"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (0, "no requests in this window since the model went live at 2017-08-10T12:00Z; no labels yet"),
        (
            120,
            "120 rows since the model went live at 2017-08-10T12:00Z are too few to decide about drift, 200 are needed",
        ),
    ],
)
def test_calls_of_the_model_before_are_not_denied(rows: int, expected: str) -> None:
    """In the window of a rollout, the sentence covers only the calls since then."""
    live = replace(MEASURED.live, since="2017-08-10T12:00:00.5Z")
    traffic = replace(MEASURED.traffic, invocations=rows, rows=rows)
    assert expected in message_of(changed(MEASURED, live=live, rows=rows, traffic=traffic, quality=None, counts=None))


def test_other_monitors_are_named_where_they_found_something() -> None:
    """Names bias by its Clarify metric and facet, and latency with its limit."""
    metric = Measured(name="DPL", value=0.21, low=0.18, high=0.24, violated=True)
    bias = BiasMetric(facet="sex", facet_value="f", metric=metric, stage="pre_training")
    slow = Measured(name="p99", value=120.0, limit=90.0, violated=True)
    evidence = changed(MEASURED, bias=BiasResult(metrics=(bias,)), latency=LatencyResult(calls=500, metrics=(slow,)))
    assert message_of(evidence).endswith(
        "bias moved: DPL of sex=f 0.21, 0.18 to 0.24; the model is slow: p99 120 ms, at most 90"
    )


def test_many_features_are_counted_not_listed() -> None:
    """A sentence names three, a message ten."""
    many = tuple(replace(PRICE, name=f"f{i:02}") for i in range(14))
    report = report_of(changed(MEASURED, drift=drift_of(*many)), MonitorSpec(alarm_windows=1, of_windows=1))
    assert "drift in this window: f00 (mean rose 12 %, from 4.1 to 4.59), f01" in verdict(report)
    assert "f02 (mean rose 12 %, from 4.1 to 4.59), 11 more;" in verdict(report)
    assert "- 4 more features" in message(report, "s3://b/report.json")


def test_a_message_says_what_happened_what_to_do_and_where() -> None:
    """A message has lines for the event, the action and the location."""
    evidence = changed(MEASURED, drift=drift_of(PRICE), problems={"line is not JSON": 3})
    evidence = replace(evidence, problem_objects={"line is not JSON": "capture/e/v/2017/08/08/01/o.jsonl"})
    text = message(report_of(evidence), "s3://artifacts/report.json").splitlines()
    assert text[0].startswith("demand-forecast: drift in 2 of 3 windows")
    assert text[2] == "Window: 2017-08-07T00:00:00Z to 2017-08-14T00:00:00Z, 1,000 rows, 500 labelled"
    assert "- price: mean rose 12 %, from 4.1 to 4.59" in text
    assert text[text.index("What to do:") + 1].startswith("- if the feed is broken, fix it")
    assert "- line is not JSON: 3, the newest in capture/e/v/2017/08/08/01/o.jsonl" in text
    assert text[-1] == "Report: s3://artifacts/report.json"


def test_a_changed_baseline_is_the_whole_message() -> None:
    """The reader must find the change of the baseline, so drift is not mentioned."""
    text = message(report_of(replace(MEASURED, baseline=None, flaw="the baseline was changed")), "s3://r")
    assert "find out who changed or removed it" in text
    assert "Left out" not in text


@given(EVIDENCE)
def test_there_is_a_sentence_whatever_happened(evidence: Evidence) -> None:
    """One line names the endpoint without raw state names."""
    report = report_of(evidence)
    sentence = verdict(report)
    assert sentence.startswith("demand-forecast: ")
    assert "\n" not in sentence
    assert not any(state.value in sentence for state in MonitorState if "_" in state.value)
    assert message(report, "s3://r").endswith("Report: s3://r")


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
