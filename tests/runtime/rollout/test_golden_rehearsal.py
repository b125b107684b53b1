"""Rounds of a rehearsal: the requests, their order, and the results that count."""

import json
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.serving import GoldenRequest, GoldenSpec
from mlops_runtime.rollout.golden_answers import Reply
from mlops_runtime.rollout.golden_rehearsal import ALONE, PAUSE_SECONDS, RECHECK_CALLS, RECHECKS, ROUNDS, Rehearsal

Ask = Callable[[str, GoldenRequest], Reply]


def _rows(request: GoldenRequest) -> list[float]:
    return [row[0] for row in json.loads(request.body)["instances"]]


def _batch(count: int) -> GoldenRequest:
    body = json.dumps({"instances": [[float(row)] for row in range(count)]})
    return GoldenRequest(name=f"batch of {count}", body=body, rows=count)


def _honest(_: str, request: GoldenRequest) -> Reply:
    return Reply(numbers=tuple(2 * row for row in _rows(request)), milliseconds=20.0)


def _rehearsal(invoke: Ask, *, live: str | None = None, **limits: float) -> Rehearsal:
    spec = GoldenSpec(uri="s3://b/g", sha256="0" * 64, **limits)  # type: ignore[arg-type]
    return Rehearsal(invoke=invoke, spec=spec, endpoint="new", live=live, has_time=lambda: True)


@given(st.integers(1, 5 * ALONE))
def test_every_row_goes_alone_and_every_batch_in_another_order(count: int) -> None:
    """Each round has a limit; a batch never repeats an order if it has enough of them."""
    requests: list[list[float]] = []

    def invoke(endpoint: str, request: GoldenRequest) -> Reply:
        requests.append(_rows(request))
        return _honest(endpoint, request)

    assert _rehearsal(invoke).run([_batch(count)]) == ""
    alone = [rows[0] for rows in requests if len(rows) == 1]
    assert set(alone) == set(range(count))
    batches = [tuple(rows) for rows in requests[1:] if len(rows) == count > 1]
    assert len(set(batches)) == min(count, ROUNDS if count > 1 else 0)
    assert len(requests) <= 1 + ROUNDS * (1 + ALONE)


def test_the_live_model_is_asked_the_same_beside_it() -> None:
    """Only if something is compared: the same body right after; its rows are never sent alone."""
    requests: list[tuple[str, str]] = []

    def invoke(endpoint: str, request: GoldenRequest) -> Reply:
        requests.append((endpoint, request.body))
        return _honest(endpoint, request)

    assert _rehearsal(invoke, live="live").run([_batch(3)]) == ""
    assert {endpoint for endpoint, _ in requests} == {"new"}
    requests.clear()
    assert _rehearsal(invoke, live="live", max_slowdown=2.0).run([_batch(3)]) == ""
    pairs = [(requests[place - 1], call) for place, call in enumerate(requests) if call[0] == "live"]
    assert len(pairs) == 1 + ROUNDS
    assert all(before == ("new", body) for before, (_, body) in pairs)


def test_a_round_with_a_failure_is_the_last() -> None:
    """All requests of the round are sent, so that the reason names them, and none afterwards."""
    calls: list[str] = []

    def invoke(_: str, request: GoldenRequest) -> Reply:
        calls.append(request.name)
        return Reply(problem="no")

    reason = _rehearsal(invoke).run([_batch(1), _batch(2)])
    assert reason == "2 of 2 golden requests failed: batch of 1: no; batch of 2: no"
    assert calls == ["batch of 1", "batch of 1", "batch of 2"]


def test_a_column_that_the_model_lacks_is_named_with_what_leaves_it_out() -> None:
    """The server names the column; the message has the fix."""
    reason = _rehearsal(lambda *_: Reply(problem="the model returned 400: instances[0]: unknown column 'price'")).run(
        [_batch(1)]
    )
    assert "unknown column 'price'" in reason
    assert "leave it out of them (mlops new --leave-out), or train a model with it" in reason


@pytest.mark.parametrize(("slow", "is_slow"), [(61.0, True), (59.0, False)])
def test_what_is_too_slow_is_measured_again_later_before_it_fails(slow: float, is_slow: bool) -> None:
    """Three times the live model's 20 ms is allowed; each later check alternates between both."""
    requests: list[str] = []
    pauses: list[float] = []

    def invoke(endpoint: str, request: GoldenRequest) -> Reply:
        requests.append(endpoint)
        reply = _honest(endpoint, request)
        return Reply(numbers=reply.numbers, milliseconds=slow if endpoint == "new" else 20.0)

    rehearsal = _rehearsal(invoke, live="live", max_slowdown=3.0)
    rehearsal.pause = pauses.append
    reason = rehearsal.run([_batch(1)])
    assert ("as slow in each of 3 later checks, 20 s apart" in reason) == is_slow
    assert ("3.0 times the 20.0 ms of the live model" in reason) == is_slow
    assert requests == ["new", "live"] * (1 + ROUNDS + (RECHECKS * RECHECK_CALLS if is_slow else 0))
    assert pauses == [PAUSE_SECONDS] * (RECHECKS if is_slow else 0)


class Machine:
    """A machine with a clock that runs both models; while it is busy, calls wait.

    Args:
    seed: Seed of the waits.
    busy_until: Seconds until which others use the machine; waits are exponential, with occasional long ones.
    slowdown: Factor of the candidate's latency on the live model's 10 ms.
    slow_until: End of the slowdown. Default: never.
    """

    def __init__(self, seed: int, *, busy_until: float, slowdown: float = 1.0, slow_until: float = 1e9) -> None:
        self.random, self.now = random.Random(seed), 0.0
        self.busy_until, self.slowdown, self.slow_until = busy_until, slowdown, slow_until

    def invoke(self, endpoint: str, request: GoldenRequest) -> Reply:
        """Respond after a delay."""
        took = 0.01 * (self.slowdown if endpoint == "new" and self.now < self.slow_until else 1.0)
        if self.now < self.busy_until:
            took += self.random.expovariate(1 / 0.06) + (self.random.random() < 0.2) * self.random.uniform(0.1, 0.5)
        self.now += took
        return Reply(numbers=_honest(endpoint, request).numbers, milliseconds=1000 * took)

    def wait(self, seconds: float) -> None:
        """Advance the time."""
        self.now += seconds

    def verdict(self, **limits: float) -> str:
        """Rehearse next to the live model."""
        rehearsal = _rehearsal(self.invoke, live="live", **limits)
        rehearsal.pause = self.wait
        return rehearsal.run([_batch(1), _batch(3)])

    def run_many(self, **limits: float) -> str:
        """Rehearse a set of many requests."""
        rehearsal = _rehearsal(self.invoke, live="live", **limits)
        rehearsal.pause = self.wait
        return rehearsal.run([replace(_batch(1), name=f"request {number}") for number in range(20)])


LIMITS = {"max_latency_ms": 50, "max_slowdown": 3.0}


def test_a_machine_that_is_busy_for_a_while_refuses_nobody() -> None:
    """An equal model passes in a busy minute, by the limit in milliseconds and by comparison with the live model."""
    assert [seed for seed in range(60) if Machine(seed, busy_until=45.0).verdict(**LIMITS)] == []


def test_a_model_that_is_slow_for_a_while_passes_and_one_that_is_slow_for_good_does_not() -> None:
    """Ten times the live model's latency for a minute, or always; on a machine busy for half a minute."""
    for seed in range(30):
        assert Machine(seed, busy_until=30.0, slowdown=10.0, slow_until=50.0).verdict(**LIMITS) == ""
        assert "as slow in each of 3 later checks" in Machine(seed, busy_until=30.0, slowdown=10.0).verdict(**LIMITS)


def test_a_machine_that_is_always_busy_refuses_no_equal_model_beside_the_live_one() -> None:
    """Alternating calls wait alike; a permanently slow model is rejected there too."""
    limits = {"max_slowdown": 3.0}
    assert [seed for seed in range(60) if Machine(seed, busy_until=1e9).verdict(**limits)] == []
    slow = [seed for seed in range(30) if Machine(seed, busy_until=1e9, slowdown=60.0).verdict(**limits)]
    assert len(slow) == 30


class Dawdler(Machine):
    """A machine whose candidate takes 400 ms longer in one of so many calls."""

    every = 10
    calls = 0

    def invoke(self, endpoint: str, request: GoldenRequest) -> Reply:
        """Respond after a delay."""
        reply = super().invoke(endpoint, request)
        self.calls += endpoint == "new"
        is_slow = endpoint == "new" and self.random.random() < 1 / self.every
        self.now += 0.4 * is_slow
        return replace(reply, milliseconds=(reply.milliseconds or 0.0) + 400 * is_slow)


@pytest.mark.parametrize("busy_until", [0.0, 45.0])
def test_a_model_that_is_slow_on_some_calls_is_refused(busy_until: float) -> None:
    """The median does not show one call of ten; the share of slow calls does, compared with the live model in later checks."""
    found = [Dawdler(seed, busy_until=busy_until).run_many(max_slowdown=3.0) for seed in range(30)]
    assert all("in each of 3 later checks" in reason for reason in found if reason)
    assert sum(map(bool, found)) >= 27


def test_a_busy_machine_makes_no_model_slow_on_some_calls() -> None:
    """Waits are equally likely for both."""
    assert [seed for seed in range(60) if Machine(seed, busy_until=1e9).run_many(max_slowdown=3.0)] == []


class Starved(Machine):
    """A machine on which the candidate waits more often than the live model, equally long."""

    def invoke(self, endpoint: str, request: GoldenRequest) -> Reply:
        """Respond after a delay."""
        waits = self.random.random() < (0.3 if endpoint == "new" else 0.1)
        took = 10.0 + waits * self.random.uniform(20, 70)
        self.now += took / 1000
        return Reply(numbers=_honest(endpoint, request).numbers, milliseconds=took)


def test_a_machine_that_lets_one_process_wait_makes_its_model_slow_on_no_call() -> None:
    """The live model's near-maximum latency belongs to the machine; a slow call must exceed it by the limit."""
    assert [seed for seed in range(60) if Starved(seed, busy_until=0.0).run_many(max_slowdown=3.0)] == []


@pytest.mark.parametrize("is_known", [True, False])
def test_a_model_that_knows_the_golden_requests_is_refused(is_known: bool) -> None:
    """It returns half of the right value for rows changed by a ten-thousandth; an honest model hardly changes."""
    request = replace(_batch(1), body=json.dumps({"instances": [[1.25], [2.5], [4.0]]}), rows=3)

    def invoke(_: str, request: GoldenRequest) -> Reply:
        rows = _rows(request)
        return Reply(
            numbers=tuple(2 * x if x in (1.25, 2.5, 4.0) or not is_known else x for x in rows), milliseconds=1.0
        )

    reason = _rehearsal(invoke).run([request])
    assert ("the median relative difference over 3 numbers is 0.5, at most 0.05 is allowed" in reason) is is_known


def test_a_category_far_from_the_live_models_answer_is_refused() -> None:
    """By row of the generated request only; a live model that fails it is not compared."""
    request = GoldenRequest(
        name="categories", body=json.dumps({"instances": [{"x": 1.0}, {"x": 2.0}, {"x": 3.0}]}), rows=3, minimum=0
    )

    def invoke(endpoint: str, request: GoldenRequest) -> Reply:
        rows = [row["x"] for row in json.loads(request.body)["instances"]]
        return Reply(numbers=tuple(0.0 if endpoint == "new" and x == 2.0 else 10 * x for x in rows), milliseconds=1.0)

    reason = _rehearsal(invoke, live="live", max_row_deviation=0.9).run([request])
    assert "1 of 3 rows are further than 0.9 from the live model's answer, first row 1: got 0.0" in reason
    assert _rehearsal(invoke, live=None, max_row_deviation=0.9).run([request]) == ""
    assert _rehearsal(invoke, live="live", max_row_deviation=0.9).run([replace(request, name="others")]) == ""


def test_time_that_runs_out_in_a_later_check_is_said() -> None:
    """An unconfirmed slowdown is not accepted."""
    left = [True] * (2 + 2 * ROUNDS + 5)
    rehearsal = _rehearsal(Machine(1, busy_until=1e9, slowdown=60.0).invoke, live="live", max_slowdown=3.0)
    rehearsal.pause, rehearsal.has_time = (lambda _: None), lambda: bool(left) and left.pop()
    assert "time ran out while 1 of 1 golden requests that seemed slow were measured again" in rehearsal.run(
        [_batch(1)]
    )


def test_calls_that_were_asked_again_are_counted_for_the_candidate_alone() -> None:
    """One is the platform's fault; two look like a container that was gone."""

    def invoke(endpoint: str, request: GoldenRequest) -> Reply:
        return Reply(numbers=_honest(endpoint, request).numbers, was_retried=endpoint == again)

    again = "live"
    assert _rehearsal(invoke, live="live", max_deviation=1.0).run([_batch(1)]) == ""
    again = "new"
    assert "had to be retried, at most 1 is allowed" in _rehearsal(invoke).run([_batch(1)])
