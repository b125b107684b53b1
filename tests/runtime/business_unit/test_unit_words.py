"""What a person reads of a unit."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.cli.running_rollout import BAKING, REPLAY, VERDICT
from tests.runtime.business_unit.unit_samples import DEPLOY, EMPTY, ENDPOINT, LIVE, NOW, PIPELINE, RECORD, UNIT

from mlops_runtime.business_unit.unit_overview import Lock, MonitorOverview
from mlops_runtime.business_unit.unit_words import distance, unit_lines
from mlops_runtime.contracts.retraining import Decision, Trigger
from mlops_runtime.contracts.rollout import AuditRecord, Outcome
from mlops_runtime.registry.registry_overview import ApprovedVersion, RegistryOverview
from mlops_runtime.retraining.run_history import Run


def test_a_person_reads_what_matters() -> None:
    """Times in words, ARNs by their last part."""
    assert list(unit_lines(UNIT, NOW)) == [
        "\ndemand",
        "  automation  stopped: paused since 2017-08-10 10:00 (2 hours ago) by ann: stocktaking; "
        "frozen by 'peak' until 2017-09-01T00:00:00Z",
        "  freeze      'winter' from 2017-11-20 00:00 (in 101 days)",
        "  endpoint demand-forecast: Updating",
        "    live      version 2 in demand-forecast-00000002 since 2017-08-08 11:00 (2 days ago)",
        "    desired   one, as live",
        "    runs      rollout approval-3, holds the lock",
        "    runs      rollout spec-9, waits",
        "    lock      approval-3 until 2017-08-10 13:30 (in 1 hour)",
        "    probation until 2017-08-10 12:30 (in 30 minutes)",
        "    record    4 PROMOTED 2017-08-10 11:59 (1 minute ago): better",
        "  pipeline demand-forecast",
        "    started   2017-08-10 00:00 (12 hours ago), 1 of that day; 310 new labels since",
    ]


ALARMED = Run(
    id="20170810-1", pipeline="demand-forecast", at="2017-08-10T09:00:00Z", outcome="REGISTERED", trigger=Trigger.ALARM,
    requested_by="features", reason="wape 0.45;\nbetter", package="arn:p/3", approval="PendingManualApproval",
)  # fmt: skip
COOLING = Run(
    id="e1", pipeline="demand-forecast", at="2017-08-10T10:00:00Z", outcome="REFUSED", decision=Decision.COOLING_DOWN, times=3,
    reason="3600 s of the cool-down are left", free_at="2017-08-10T14:20:00Z",
)  # fmt: skip


def test_what_asked_for_a_run_what_came_of_it_and_what_was_refused() -> None:
    """With the time at which the guard accepts again, or that it does."""
    reported = replace(PIPELINE, last_run=ALARMED, refused=COOLING)
    denied = replace(PIPELINE, unread="AccessDeniedException")
    waiting = replace(ENDPOINT, waiting=("arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/3",))

    lines = list(unit_lines(replace(UNIT, endpoints=(waiting,), pipelines=(reported,)), NOW))
    later = list(unit_lines(replace(UNIT, pipelines=(reported,)), NOW + timedelta(hours=3)))

    assert "    waiting   for an approval: demand-forecast/3; see: mlops models show demand-forecast/3" in lines
    assert (
        "    last      REGISTERED as 3, PendingManualApproval, requested by alarm features 2017-08-10 09:00 (3 hours ago): "
        "wape 0.45; better"
    ) in lines
    refused = "    refused   COOLING_DOWN 3 times, 2017-08-10 10:00 ({}): 3600 s of the cool-down are left; accepts {}"
    assert refused.format("2 hours ago", "from 2017-08-10 14:20 (in 2 hours)") in lines
    assert refused.format("5 hours ago", "since 2017-08-10 14:20 (40 minutes ago)") in later
    assert "    runs      not shown: AccessDeniedException" in unit_lines(replace(UNIT, pipelines=(denied,)), NOW)
    hidden = replace(UNIT, endpoints=(replace(ENDPOINT, waiting=None),))
    assert "    waiting   not shown: the caller has no permission to list packages" in unit_lines(hidden, NOW)


def test_a_registry_without_an_endpoint_says_what_is_approved() -> None:
    """And released, or why that is not shown."""
    package = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-price/3"
    approved = ApprovedVersion(version="demand-price/2", approved_at="2017-08-10T10:00:00Z", model_sha256=None)
    registry = RegistryOverview(group="demand-price", is_releasing=True, approved=approved, waiting=(package,))

    lines = list(unit_lines(replace(UNIT, endpoints=(), pipelines=(), registries=(registry,)), NOW))
    denied = list(unit_lines(replace(UNIT, registries=(replace(registry, approved=None, unread="denied"),)), NOW))

    assert lines[3:] == [
        "  registry demand-price",
        "    approved  demand-price/2 2017-08-10 10:00 (2 hours ago)",
        "    released  nothing yet",
        "    waiting   for an approval: demand-price/3; see: mlops models show demand-price/3",
    ]
    assert [line for line in denied if line.startswith(("    approved", "    released"))] == [
        "    approved  nothing yet",
        "    released  not shown: denied",
    ]


def test_a_rollout_that_runs_says_where_it_is() -> None:
    """Below its line: step, time, answers, needs; or why not."""
    lines = list(unit_lines(replace(UNIT, endpoints=(replace(ENDPOINT, progress=BAKING),)), NOW))
    start = lines.index("    runs      rollout approval-3, holds the lock")

    assert lines[start + 3 : start + 7] == [
        "    step      1 of 2: 50 % of the traffic; since 2017-08-10 11:56 (3 minutes ago)",
        "    left      7 minutes more of this step, 17 minutes in all at least; 52 minutes at most",
        f"    answers   {VERDICT.sentence}",
        f"    needs     8 more answers without an error before its last step ends, else it is rolled back; send calls: {REPLAY}",
    ]
    hidden = replace(ENDPOINT, progress_unread="AccessDeniedException")
    assert "    step      not shown: AccessDeniedException" in unit_lines(replace(UNIT, endpoints=(hidden,)), NOW)


def test_the_last_rollouts_verdict_is_said() -> None:
    """Where the reason of the newest record does not have it: it may be of a rejection, or of too few calls."""
    promoted = replace(RECORD, verdict=VERDICT, reason=f"better; promoted {VERDICT.sentence}")
    thin = replace(RECORD, outcome=Outcome.ROLLED_BACK, verdict=VERDICT, reason="12 calls, a promotion needs 20")
    rejected = replace(RECORD, sequence=5, outcome=Outcome.REJECTED, reason="worse")

    def lines(last: AuditRecord, rollout: AuditRecord | None) -> list[str]:
        endpoint = replace(EMPTY, last=last, rollout=rollout)
        return list(unit_lines(replace(UNIT, endpoints=(endpoint,), pipelines=()), NOW))[5:]

    assert lines(promoted, promoted) == [
        f"    record    4 PROMOTED 2017-08-10 11:59 (1 minute ago): better; promoted {VERDICT.sentence}"
    ]
    assert lines(thin, thin) == [
        "    record    4 ROLLED_BACK 2017-08-10 11:59 (1 minute ago): 12 calls, a promotion needs 20",
        f"    verdict   {VERDICT.sentence}",
    ]
    assert lines(rejected, promoted) == [
        "    record    5 REJECTED 2017-08-10 11:59 (1 minute ago): worse",
        f"    rollout   4 PROMOTED 2017-08-10 11:59 (1 minute ago): better; promoted {VERDICT.sentence}",
    ]
    assert lines(rejected, None) == ["    record    5 REJECTED 2017-08-10 11:59 (1 minute ago): worse"]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {
                "monitor": MonitorOverview(
                    window_until="2017-08-10T06:00:00Z",
                    states={"drift": "VIOLATION", "quality": "NO_LABELS_YET"},
                    engine="LAMBDA",
                    suppressed="a rollout is running: r1",
                )
            },
            "    monitor   drift VIOLATION, quality NO_LABELS_YET; window until 2017-08-10 06:00 (6 hours ago), engine LAMBDA; "
            "drift was not published: a rollout is running: r1",
        ),
        (
            {
                "monitor": MonitorOverview(
                    window_until="2017-08-10T06:00:00Z",
                    states={"drift": "OK"},
                    engine="SAGEMAKER_MODEL_MONITOR",
                    analyzer="mlops_runtime",
                )
            },
            "    monitor   drift OK; window until 2017-08-10 06:00 (6 hours ago), engine SAGEMAKER_MODEL_MONITOR "
            "(run by mlops_runtime in place of AWS's image)",
        ),
        ({"is_monitored": False}, "    monitor   none is deployed"),
        ({"monitor": MonitorOverview(states={}, unread="AccessDenied")}, "    monitor   not shown: AccessDenied"),
        ({}, "    desired   no serving spec is stored yet"),
        ({"desired": "s3://a/specs/e/two.json"}, "    desired   two, at the first approval"),
        ({"desired": "s3://a/specs/e/two.json", "is_desired": False}, "    desired   two, not served yet"),
        (
            {"live": LIVE, "serving_config": "by-hand"},
            "    serving   by-hand, which the last rollout did not record",
        ),
        (
            {"lock": Lock(owner=f"{DEPLOY}:dead", until="2017-08-10T11:00:00Z", expired=True)},
            "    lock      dead free to take over since 2017-08-10 11:00 (1 hour ago)",
        ),
    ],
)
def test_what_is_not_as_it_should_be_is_said(changes: dict[str, object], line: str) -> None:
    """Each in a line of its own."""
    unit = replace(UNIT, endpoints=(replace(EMPTY, **changes),))

    assert line in list(unit_lines(unit, NOW))


def test_what_may_not_be_read_is_named_last() -> None:
    """Below what may, with the reason."""
    unit = replace(UNIT, unread={"endpoint secret": "AWS refused GetItem (AccessDeniedException): no"})

    assert list(unit_lines(unit, NOW))[-2:] == [
        "  endpoint secret",
        "    not shown AWS refused GetItem (AccessDeniedException): no",
    ]


def test_a_unit_that_runs_says_so() -> None:
    """And a pipeline that never started."""
    pipeline = replace(PIPELINE, last_started=None)
    unit = replace(UNIT, pause=None, frozen=None, next_freeze=None, endpoints=(EMPTY,), pipelines=(pipeline,))

    assert list(unit_lines(unit, NOW)) == [
        "\ndemand",
        "  automation  runs",
        "  endpoint demand-forecast: NOT_YET_DEPLOYED",
        "    desired   no serving spec is stored yet",
        "  pipeline demand-forecast",
        "    started   never",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"),
        (59, "now"),
        (60, "in 1 minute"),
        (-60, "1 minute ago"),
        (7300, "in 2 hours"),
        (-172800, "2 days ago"),
    ],
)
def test_a_distance_is_in_the_largest_unit(seconds: int, text: str) -> None:
    """Cut, never rounded up."""
    assert distance(timedelta(seconds=seconds)) == text
