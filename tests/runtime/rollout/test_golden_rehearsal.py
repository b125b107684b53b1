"""The rehearsal's rounds: what is asked, in which order, and what of it counts."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.serving import GoldenRequest, GoldenSpec
from mlops_runtime.rollout.golden_answers import Reply
from mlops_runtime.rollout.golden_rehearsal import ALONE, ROUNDS, Rehearsal

Ask = Callable[[str, GoldenRequest], Reply]


def _rows(request: GoldenRequest) -> list[float]:
    return [row[0] for row in json.loads(request.body)["instances"]]


def _batch(count: int) -> GoldenRequest:
    body = json.dumps({"instances": [[float(row)] for row in range(count)]})
    return GoldenRequest(name=f"batch of {count}", body=body, rows=count)


def _honest(_: str, request: GoldenRequest) -> Reply:
    return Reply(numbers=tuple(2 * row for row in _rows(request)), milliseconds=20.0)


def _rehearsal(ask: Ask, *, live: str | None = None, **limits: float) -> Rehearsal:
    spec = GoldenSpec(uri="s3://b/g", sha256="0" * 64, **limits)  # type: ignore[arg-type]
    return Rehearsal(ask=ask, spec=spec, endpoint="new", live=live, has_time=lambda: True)


@given(st.integers(1, 5 * ALONE))
def test_every_row_goes_alone_and_every_batch_in_another_order(count: int) -> None:
    """Within the rounds, and each round no more than so many; a batch never comes twice in one order, if it has orders enough."""
    asked: list[list[float]] = []

    def ask(endpoint: str, request: GoldenRequest) -> Reply:
        asked.append(_rows(request))
        return _honest(endpoint, request)

    assert _rehearsal(ask).run([_batch(count)]) == ""
    alone = [rows[0] for rows in asked if len(rows) == 1]
    assert set(alone) == set(range(count))
    batches = [tuple(rows) for rows in asked[1:] if len(rows) == count > 1]
    assert len(set(batches)) == min(count, ROUNDS if count > 1 else 0)
    assert len(asked) <= 1 + ROUNDS * (1 + ALONE)


def test_the_live_model_is_asked_the_same_beside_it() -> None:
    """Only where something is compared: the same body, right after; its rows never go alone."""
    asked: list[tuple[str, str]] = []

    def ask(endpoint: str, request: GoldenRequest) -> Reply:
        asked.append((endpoint, request.body))
        return _honest(endpoint, request)

    assert _rehearsal(ask, live="live").run([_batch(3)]) == ""
    assert {endpoint for endpoint, _ in asked} == {"new"}
    asked.clear()
    assert _rehearsal(ask, live="live", max_slowdown=2.0).run([_batch(3)]) == ""
    pairs = [(asked[place - 1], call) for place, call in enumerate(asked) if call[0] == "live"]
    assert len(pairs) == 1 + ROUNDS
    assert all(before == ("new", body) for before, (_, body) in pairs)


def test_a_round_with_a_failure_is_the_last() -> None:
    """All its requests are asked, so that the reason names them; nothing is asked after it."""
    calls: list[str] = []

    def ask(_: str, request: GoldenRequest) -> Reply:
        calls.append(request.name)
        return Reply(problem="no")

    reason = _rehearsal(ask).run([_batch(1), _batch(2)])
    assert reason == "2 of 2 golden requests failed: batch of 1: no; batch of 2: no"
    assert calls == ["batch of 1", "batch of 1", "batch of 2"]


def test_a_column_that_the_model_lacks_is_named_with_what_leaves_it_out() -> None:
    """The server says which; a person is told what to do."""
    reason = _rehearsal(lambda *_: Reply(problem="the model answered 400: instances[0]: unknown column 'price'")).run(
        [_batch(1)]
    )
    assert "unknown column 'price'" in reason
    assert "take it out of them, as mlops new --leave-out does, or train a model that takes it" in reason


@pytest.mark.parametrize(("slow", "is_slow"), [(61.0, True), (59.0, False)])
def test_what_is_too_slow_is_asked_again_before_that_is_believed(slow: float, is_slow: bool) -> None:
    """Three times as slow as the live model's 20 ms is allowed."""
    calls = 0

    def ask(endpoint: str, request: GoldenRequest) -> Reply:
        nonlocal calls
        calls += endpoint == "new"
        reply = _honest(endpoint, request)
        return Reply(numbers=reply.numbers, milliseconds=slow if endpoint == "new" else 20.0)

    reason = _rehearsal(ask, live="live", max_slowdown=3.0).run([_batch(1)])
    assert ("3.0 times the 20.0 ms of the live model" in reason) == is_slow
    assert calls == (1 + 1 + ROUNDS if is_slow else 1 + ROUNDS)


def test_calls_that_were_asked_again_are_counted_for_the_candidate_alone() -> None:
    """One is the platform's; two are what a container looks like that went away."""

    def ask(endpoint: str, request: GoldenRequest) -> Reply:
        return Reply(numbers=_honest(endpoint, request).numbers, was_asked_again=endpoint == again)

    again = "live"
    assert _rehearsal(ask, live="live", max_deviation=1.0).run([_batch(1)]) == ""
    again = "new"
    assert "had to be asked again, at most 1 may" in _rehearsal(ask).run([_batch(1)])
