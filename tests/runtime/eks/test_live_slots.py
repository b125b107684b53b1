"""The serving version of a service, from weights and slots."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.eks.samples import EKS
from tests.runtime.eks.slots import BLUE, CHALLENGER, CHAMPION, GREEN, pointer, rule, slots, state

from mlops_runtime.contracts.serving import SLOTS
from mlops_runtime.eks.live_slots import (
    ForeignRuleError,
    Slots,
    all_to,
    other,
    read_weights,
    serving,
    taken_back,
    versions,
)

STATES = st.fixed_dictionaries(
    {
        slot: st.builds(
            lambda config, desired, ready, slot=slot: state(slot, config, desired=desired, ready=ready),
            st.sampled_from([BLUE if slot == "blue" else GREEN, None]),
            st.integers(0, 3),
            st.integers(0, 3),
        )
        for slot in SLOTS
    }
)


@st.composite
def any_slots(draw: st.DrawFn) -> Slots:
    """Return slots in any state with any weights."""
    return slots(draw(st.integers(0, 100)), *draw(STATES).values())


def test_a_rule_is_read_in_percent() -> None:
    """Only shares count: 3 to 1 is 75 to 25."""
    assert read_weights(rule({"blue": 3, "green": 1}), EKS.target_groups) == {"blue": 75, "green": 25}


def test_a_rule_with_one_group_gives_it_everything() -> None:
    """ALB returns a single target group next to the forward configuration or instead of it."""
    alone = {"Actions": [{"Type": "forward", "TargetGroupArn": EKS.target_groups["green"]}]}
    assert read_weights(alone, EKS.target_groups) == {"blue": 0, "green": 100}


@given(st.integers(0, 999), st.integers(0, 999))
def test_read_weights_sum_to_all_and_keep_ends_ends(blue: int, green: int) -> None:
    """A slot with any traffic never looks idle; a rule without traffic is reported as such."""
    read = read_weights(rule({"blue": blue, "green": green}), EKS.target_groups)
    assert sum(read.values()) == (100 if blue + green else 0)
    assert {slot for slot, weight in read.items() if weight} == {
        slot for slot, weight in (("blue", blue), ("green", green)) if weight
    }


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([], "must have one forward action, got 0"),
        (None, "must have one forward action, got 0"),
        ([{"Type": "forward"}, {"Type": "forward"}], "must have one forward action, got 2"),
        ([{"Type": "forward", "TargetGroupArn": "arn:x"}], "the rule forwards to arn:x, which belongs to no slot"),
    ],
)
def test_a_rule_that_somebody_else_changed_is_refused(actions: Any, message: str) -> None:
    """It has no readable weights, so nothing is decided."""
    with pytest.raises(ForeignRuleError, match=message):
        read_weights({"Actions": actions}, EKS.target_groups)


def test_what_has_all_the_traffic_serves() -> None:
    """A stable service is InService with the slot's package."""
    found = serving(slots(0, state("blue", BLUE), state("green", GREEN, package=CHALLENGER)))
    assert found is not None
    assert (found.status, found.config, found.is_answering) == ("InService", GREEN, True)
    assert found.version is not None
    assert (found.version.package, found.version.variant_names) == (CHALLENGER, ("AllTraffic",))


def test_between_two_ends_it_is_updating() -> None:
    """The slot with more traffic names the serving version."""
    found = serving(slots(90, state("blue", BLUE), state("green", GREEN)))
    assert found is not None
    assert (found.status, found.config) == ("Updating", BLUE)


def test_nothing_serves_before_a_slot_has_run_anything() -> None:
    """The rule initially sends everything to blue, which has no pods yet."""
    assert serving(slots(100)) is None
    assert serving(slots(100, state("green", GREEN))) is None


@pytest.mark.parametrize(
    ("both", "live", "back"),
    [
        (slots(100, state("blue", BLUE), state("green", GREEN)), BLUE, None),
        (slots(90, state("blue", BLUE), state("green", GREEN)), BLUE, "blue"),
        (slots(10, state("blue", BLUE), state("green", GREEN)), BLUE, "blue"),
        # all traffic moved without a record: the recorded version still has its pods
        (slots(0, state("blue", BLUE), state("green", GREEN)), BLUE, "blue"),
        # the stack reset the rule to its template
        (slots(100, state("blue", BLUE, desired=0, ready=0), state("green", GREEN)), GREEN, "green"),
        # the recorded version has no pods any more
        (slots(0, state("blue", BLUE, desired=0, ready=0), state("green", GREEN)), BLUE, None),
        (slots(60, state("blue", BLUE, ready=0), state("green", GREEN)), BLUE, "green"),
        (slots(60, state("blue", BLUE, ready=0), state("green", GREEN, ready=0)), BLUE, "blue"),
        # the first model, without a record yet
        (slots(0, state("green", GREEN)), None, None),
        (slots(100, state("green", GREEN)), None, None),
        (slots(40, state("blue", BLUE), state("green", GREEN)), None, "green"),
        (slots(100), None, None),
        (slots(50), None, None),
    ],
)
def test_what_an_execution_that_died_began_is_taken_back(both: Slots, live: str | None, back: str | None) -> None:
    """To the recorded live version if it has pods, otherwise to the slot with traffic and pods."""
    assert taken_back(both, live) == (None if back is None else all_to(back))


def test_a_number_of_pods_that_changes_gives_a_candidate_nothing() -> None:
    """Until the cluster has observed an autoscaler's change, it is unknown which pods are ready, though they respond."""
    scaling = replace(state("blue", BLUE, ready=0), unsorted=2)
    both = slots(90, scaling, state("green", GREEN, package=CHALLENGER))
    assert taken_back(both, BLUE) == all_to("blue")
    # only pods known to be the candidate's count
    assert taken_back(
        slots(10, replace(both.states["green"], ready=0, unsorted=2), state("blue", BLUE)), None
    ) == all_to("blue")


@given(any_slots(), st.sampled_from([BLUE, GREEN, "gone", None]))
def test_taking_back_ends_at_an_end_and_is_done_once(both: Slots, live: str | None) -> None:
    """All traffic goes to a slot that runs something; a repeat changes nothing."""
    back = taken_back(both, live)
    if back is None:
        assert both.is_at_rest or both.states[both.heaviest].version is None
        return
    (slot,) = [each for each, weight in back.items() if weight == 100]
    assert sum(back.values()) == 100
    assert both.states[slot].version is not None
    assert slot == both.running(live) or both.weights[slot] > 0
    after = slots(back["blue"], *both.states.values())
    assert after.is_at_rest
    assert taken_back(after, live) is None


@given(any_slots(), st.sampled_from([BLUE, GREEN, None]))
def test_a_slot_without_ready_pods_gets_nothing_while_another_can_have_it(both: Slots, live: str | None) -> None:
    """Unless no slot with traffic or a record has any."""
    back = taken_back(both, live)
    if back is None:
        return
    (slot,) = [each for each, weight in back.items() if weight == 100]
    others = both.weights[other(slot)] > 0 or both.running(live) == other(slot)
    if both.states[slot].ready == 0 and others and both.states[other(slot)].version is not None:
        assert both.states[other(slot)].ready == 0


def test_versions_to_go_back_to_are_in_slots_and_records() -> None:
    """The previous version's slot may contain a failed candidate: its package is in the record."""
    both = slots(100, state("blue", BLUE), state("green", "demand-forecast-fa11ed00", package="arn/9"))
    live = pointer(BLUE, previous=GREEN, previous_package=CHALLENGER)
    found = {config: version.package for config, version in versions(both, live).items()}
    assert found == {BLUE: CHAMPION, GREEN: CHALLENGER, "demand-forecast-fa11ed00": "arn/9"}
    assert set(versions(both, None)) == {BLUE, "demand-forecast-fa11ed00"}


def test_the_other_slot() -> None:
    """There are two."""
    assert [other(slot) for slot in SLOTS] == ["green", "blue"]
