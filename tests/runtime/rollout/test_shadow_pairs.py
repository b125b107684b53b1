"""Pairs of responses of the live model and a shadow: matching, and evidence against the candidate."""

import json
from typing import Any

import numpy as np
import pytest

from mlops_runtime.contracts.serving import ToleranceSpec
from mlops_runtime.rollout.shadow_pairs import Pair, change_evidence, is_changed, judge_pairs, paired, tails

TOLERANCE = ToleranceSpec(relative=0.1, absolute=0.01, max_changed=0.05)


def record(body: str, answer: Any, *, at: int = 0, given: str | None = None) -> dict[str, Any]:
    """Return a capture record; a response given as a string is a body without numbers."""
    data = answer if isinstance(answer, str) else json.dumps({"predictions": answer})
    sides = {
        "endpointInput": {"observedContentType": "application/json", "encoding": "JSON", "data": body},
        "endpointOutput": {"observedContentType": "application/json", "encoding": "JSON", "data": data},
    }
    event = {"eventId": "e", "inferenceTime": f"2017-08-01T09:00:{at:02d}Z"}
    return {"captureData": sides, "eventMetadata": event | ({} if given is None else {"inferenceId": given})}


def test_calls_are_paired_by_the_callers_id_or_by_their_bytes() -> None:
    """SageMaker's own ids are of single calls and match nothing."""
    live = [record("a", [1.0], given="1"), record("b", [2.0]), record("c", [3.0])]
    shadow = [record("b", [2.5]), record("a", [1.5], given="1"), record("d", [4.0])]
    assert paired(live, shadow) == [Pair(live=(2.0,), shadow=(2.5,)), Pair(live=(1.0,), shadow=(1.5,))]


def test_of_the_same_request_the_first_pair_counts() -> None:
    """Later pairs are not independent evidence."""
    live = [record("a", [1.0], at=second, given=str(second)) for second in range(9)]
    shadow = [record("a", [2.0], at=second, given=str(second)) for second in range(9)]
    assert len(paired(live, shadow)) == 1


def test_an_id_that_was_given_twice_pairs_with_the_nearest_call() -> None:
    """Never with another request."""
    live = [record("a", [1.0], at=1, given="x"), record("b", [2.0], at=30, given="x")]
    shadow = [record("b", [2.1], at=31, given="x"), record("c", [9.0], at=31, given="x")]
    assert paired(live, shadow) == [Pair(live=(2.0,), shadow=(2.1,))]


def test_a_body_without_numbers_is_half_a_pair() -> None:
    """Of either model; a record without an input matches nothing."""
    pairs = paired([record("a", "{}"), record("b", [1.0])], [record("a", [1.0]), record("b", "oops")])
    assert pairs == [Pair(live=None, shadow=(1.0,)), Pair(live=(1.0,), shadow=None)]
    assert paired([{"captureData": {}}], [{"captureData": {}}]) == []


@pytest.mark.parametrize(
    ("live", "shadow", "changed"),
    [
        ([1.0, 2.0], [1.1, 2.2], False),
        ([1.0, 2.0], [1.0, 2.3], True),
        ([0.0], [0.01], False),
        ([0.0], [0.02], True),
        ([1.0], [1.0, 1.0], True),
    ],
)
def test_the_worst_number_of_an_answer_decides(live: list[float], shadow: list[float], changed: bool) -> None:
    """A request is one pair, for any number of rows."""
    assert is_changed(live, shadow, TOLERANCE) is changed


def drawn(share: float, pairs: int, seed: int) -> int:
    """Draw the number of changed responses."""
    return int(np.random.default_rng(seed).binomial(pairs, share))


def test_at_the_limit_few_candidates_are_rejected() -> None:
    """At most one in two hundred (plus chance) of 2,000 candidates that change exactly one in twenty responses."""
    evidence = [change_evidence(drawn(0.05, 2000, seed), 2000, 0.05) for seed in range(2000)]
    assert sum(each >= 200 for each in evidence) <= 20


@pytest.mark.parametrize(("share", "pairs"), [(0.08, 2000), (0.1, 1000), (0.2, 150), (0.5, 30)])
def test_more_changes_than_declared_are_shown(share: float, pairs: int) -> None:
    """In at least nine of ten candidates, with that number of pairs."""
    evidence = [change_evidence(drawn(share, pairs, seed), pairs, 0.05) for seed in range(200)]
    assert sum(each >= 200 for each in evidence) >= 180


def test_what_errs_alone_is_shown_and_what_errs_together_is_not() -> None:
    """A malformed call fails in both and is no evidence."""
    fine, both = Pair(live=(1.0,), shadow=(1.0,)), Pair(live=None, shadow=None)
    alone, other = Pair(live=(1.0,), shadow=None), Pair(live=None, shadow=(1.0,))
    assert judge_pairs([fine] * 900 + [both] * 100, TOLERANCE).passed
    assert judge_pairs([fine] * 900 + [other] * 100, TOLERANCE).passed
    found = judge_pairs([fine] * 970 + [alone] * 30, TOLERANCE)
    assert (found.passed, found.pairs) == (False, 1000)
    assert found.sentence == (
        "of 1,000 pairs of answers 0 changed beyond the tolerance, by 0 % in the median, at most 5 % may; only the candidate "
        "had no numbers in 30, only the live model in 0"
    )


def test_without_pairs_nothing_is_said_against_a_candidate() -> None:
    """The machine checks for too few pairs."""
    assert judge_pairs([], TOLERANCE).pairs == 0
    assert judge_pairs([], TOLERANCE).passed


def test_tails_are_said_and_decide_nothing() -> None:
    """A candidate with a wider spread has more in both tails; equal responses have a tenth in each."""
    tolerance = ToleranceSpec(relative=10.0, absolute=0.0, max_changed=0.9)
    alike = [Pair(live=(float(at),), shadow=(float(at),)) for at in range(200)]
    wide = [Pair(live=(float(at),), shadow=(3.0 * at - 200,)) for at in range(200)]
    found = [judge_pairs(pairs, tolerance) for pairs in (alike, wide)]
    assert [each.passed for each in found] == [True, True]
    assert "; 10 % of its numbers are in or above the highest tenth of the live model's, 10 % in" in found[0].sentence
    assert "; 36 % of its numbers are in or above the highest tenth of the live model's, 37 % in" in found[1].sentence


def test_tails_of_few_answers_are_not_said() -> None:
    """They would be meaningless."""
    assert tails([((1.0,), (9.0,))] * 50) == ""
