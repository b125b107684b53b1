"""The wording of a running rollout."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.cli.running_rollout import BAKING, NOW, REPLAY, STARTING, VERDICT

from mlops_runtime.rollout.rollout_progress import Phase
from mlops_runtime.rollout.rollout_words import answers, doing, facts, jump, length, needs, remaining


def test_a_step_is_said_with_its_share_its_rest_its_answers_and_what_it_lacks() -> None:
    """As `mlops status` prints it."""
    assert list(facts(BAKING, "demand-forecast", NOW)) == [
        ("step", "1 of 2: 50 % of the traffic"),
        ("left", "7 minutes more of this step, 17 minutes in all at least; 52 minutes at most"),
        ("answers", "after 3 minutes: 1 of 13 answers failed against 0 of 11 of the live model"),
        (
            "needs",
            f"8 more answers without an error before its last step ends, else it is rolled back; send calls: {REPLAY}",
        ),
    ]


def test_before_the_first_step_the_whole_time_is_said() -> None:
    """A bake of ten minutes in two steps takes twenty, plus the unknown start time of instances."""
    assert list(facts(STARTING, "demand-forecast", NOW)) == [
        ("doing", "the new fleet starts; it has no traffic yet"),
        ("left", "20 minutes in all (2 steps of 10 minutes) at least"),
        (
            "needs",
            f"20 more answers without an error while it has traffic, else it is rolled back; send calls: {REPLAY}",
        ),
    ]
    uneven = replace(STARTING, bakes=(600, 60), at_least=660)
    assert remaining(uneven, NOW) == "11 minutes in all (2 steps) at least"


def test_why_a_bake_is_as_long_as_it_is_is_said() -> None:
    """As the plan computed it from the traffic."""
    planned = replace(STARTING, bake_reason="bakes 29 minutes a step: calls are few")
    assert ("bakes", "29 minutes a step: calls are few") in list(facts(planned, "demand-forecast", NOW))


def test_the_last_step_ends_at_a_look() -> None:
    """After its time the machine polls once more."""
    last = replace(BAKING, step=2, percent=100.0, until="2017-08-10T11:59:00Z", at_least=0)
    assert remaining(last, NOW) == "this step ends at one of the next polls; 52 minutes at most"
    assert (
        doing(replace(last, phase=Phase.JUDGING))
        == "2 of 2: 100 % of the traffic, alarms and answers are read a last time"
    )


def test_between_slots_answers_are_needed_before_the_last_step() -> None:
    """Calls at full traffic come too late; and a slot is rehearsed in place."""
    slots = replace(BAKING, is_between_slots=True)
    assert needs(slots, "demand-forecast").startswith(
        "8 more answers without an error before it gets all of the traffic"
    )
    judged = replace(slots, phase=Phase.JUDGING)
    assert doing(judged) == (
        "1 of 2: 50 % of the traffic, alarms and answers are read before it gets all of the traffic"
    )
    assert doing(replace(judged, step=2)).endswith(", alarms and answers are read a last time")
    assert needs(replace(slots, step=2), "demand-forecast").startswith(
        "8 more answers without an error before its last"
    )
    assert doing(replace(STARTING, phase=Phase.REHEARSING, is_between_slots=True)).startswith("the candidate's slot ")


def test_a_rollback_says_that_the_version_answers_already() -> None:
    """All traffic moves at once, and callers do not wait for the bake."""
    back = replace(
        BAKING, request_reason="rollback", steps=1, bakes=(600,), percent=100.0, is_watched=False, verdict=None
    )
    starts = replace(back, phase=Phase.STARTING, step=0, percent=0.0, until=None, at_least=600)
    assert doing(back) == "1 of 1: 100 % of the traffic, the requested version already has all of it"
    assert doing(starts) == "the new fleet starts; it has no traffic yet and gets all of it at once"
    assert remaining(starts, NOW) == "10 minutes in all at least; 52 minutes at most"
    assert (answers(back), needs(back, "demand-forecast")) == ("", "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verdict": None}, "none of the new fleet counted yet"),
        ({"verdict": replace(VERDICT, minutes=0, sentence="")}, "none of the new fleet counted yet"),
        ({"verdict": None, "step": 0}, ""),
        (
            {"verdict": replace(VERDICT, action="stop")},
            "stopped after 3 minutes: 1 of 13 answers failed against 0 of 11 of the live model",
        ),
    ],
)
def test_what_both_fleets_answered(changes: dict[str, Any], message: str) -> None:
    """With the verdict's sentence, which the record gets in the end."""
    assert answers(replace(BAKING, **changes)) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verdict": replace(VERDICT, calls=19)}, "1 more answer without an error before its last step ends"),
        ({"verdict": replace(VERDICT, calls=20)}, "only time"),
        (
            {"verdict": replace(VERDICT, calls=20, evidence=12.7)},
            "better answers: there is evidence of 12 to one against it",
        ),
        ({"verdict": replace(VERDICT, action="stop")}, ""),
        ({"phase": Phase.ROLLING_BACK}, ""),
        ({"phase": Phase.RECORDING}, ""),
    ],
)
def test_what_a_promotion_lacks(changes: dict[str, Any], message: str) -> None:
    """Calls, with the command that sends them, or better responses; nothing once it is decided."""
    found = needs(replace(BAKING, **changes), "demand-forecast")
    assert found.startswith(message)
    assert bool(found) == bool(message)


def test_every_phase_has_words() -> None:
    """Each phase has its own."""
    reported = {doing(replace(STARTING, phase=phase)) for phase in Phase}
    assert len(reported) == len(Phase)


def test_the_clock_jumps_to_the_end_of_the_step() -> None:
    """In whole minutes, at least one."""
    assert jump(BAKING, NOW) == "7m"
    assert jump(BAKING, NOW + timedelta(hours=1)) == "1m"


def test_lengths_are_rounded_up() -> None:
    """Nothing ends earlier than reported."""
    assert [length(seconds) for seconds in (1, 59.2, 60, 599, 3600, 3601)] == [
        "1 second", "1 minute", "1 minute", "10 minutes", "1 hour", "1 hour 1 minute",
    ]  # fmt: skip
