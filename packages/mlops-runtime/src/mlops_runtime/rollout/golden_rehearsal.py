"""The rehearsal of a candidate: the golden set in several rounds, rows among others and alone, beside the live model.

One round would say nothing of a container that repeats old answers, keeps what it was sent, or ends after a while: InvokeEndpoint
does not say that a container was started anew, only that a call got no answer, or had to be asked again. So the set is sent again
and again, with the rows of each batch in another order, and every row must get what it got at first. Time is judged by the median
of all rounds, each call beside the same one to the live model: a machine's hiccup is no slowness, and no slowness is a hiccup.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from mlops_runtime.contracts.serving import GoldenRequest, GoldenSpec
from mlops_runtime.rollout.golden_answers import (
    Reply,
    deviation_problem,
    deviations,
    is_whole,
    judge,
    reason_of,
    repeated,
    slowness,
)
from mlops_runtime.rollout.golden_set import single_bodies, turned

ROUNDS = 5  # odd, and a median that two slow calls do not move
ALONE = 32  # rows of a request that are sent alone in a round
# the platform may fail once, which its client asks again; a second call that nobody answered at first is not accepted
_ASKED_AGAIN = 1
Ask = Callable[[str, GoldenRequest], Reply]


class _OutOfTimeError(Exception):
    """Another call does not fit into the function's time."""


@dataclass(slots=True)
class _Times:
    """Milliseconds of one request's calls: whole, its rows alone, and whole at the live model."""

    whole: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    live: list[float] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Rehearsal:
    """One check: the calls made so far, and what was found.

    Args:
        ask: Asks an endpoint.
        spec: The golden set's limits.
        endpoint: That of the candidate.
        live: That of the live model. Default: there is none.
        has_time: Whether another call still fits.
    """

    ask: Ask
    spec: GoldenSpec
    endpoint: str
    live: str | None
    has_time: Callable[[], bool]
    calls: int = 0
    _asked_again: int = 0
    _problems: dict[str, list[str]] = field(default_factory=dict)
    _first: dict[str, tuple[float, ...]] = field(default_factory=dict)
    _times: dict[str, _Times] = field(default_factory=dict)
    _differences: list[float] = field(default_factory=list)

    def run(self, requests: Sequence[GoldenRequest]) -> str:
        """Return why the candidate fails; the empty text if it does not. Nothing more is asked after a round with a failure."""
        others: list[str] = []
        number = done = 0
        try:
            for endpoint in self._asked:  # pays for what a container loads late, and is not judged
                self._call(endpoint, requests[0])
            for number in range(1, ROUNDS + 1):
                for done, request in enumerate(requests):  # noqa: B007 # told if time runs out
                    self._round(request, number)
                if not self._problems:
                    self._judge_times(requests)
                if self._problems:
                    break
        except _OutOfTimeError:
            others.append(
                f"time ran out after {done} of {len(requests)} golden requests in round {max(1, number)} of {ROUNDS}; "
                "make the set smaller"
            )
        else:
            others += self._distance()
        if self._asked_again > _ASKED_AGAIN:
            others.append(
                f"{self._asked_again} of {self.calls} calls had to be asked again, at most {_ASKED_AGAIN} may: the container "
                "was not there, or the platform; approve it again if it was the platform"
            )
        return reason_of(self._problems, of=len(requests), others=others) if self._problems or others else ""

    @property
    def _asked(self) -> tuple[str, ...]:
        return (self.endpoint,) if not self._is_compared else (self.endpoint, str(self.live))

    @property
    def _is_compared(self) -> bool:
        return self.live is not None and (self.spec.max_deviation is not None or self.spec.max_slowdown is not None)

    def _round(self, request: GoldenRequest, number: int) -> None:
        """Send a request once, and its rows alone."""
        times = self._times.setdefault(request.name, _Times())
        bodies = single_bodies(request)
        by = number - 1 if bodies else 0
        whole = self._whole(turned(request, by), times)
        numbers = _turned_back(whole.numbers, by)
        rows = () if whole.problem is not None else _alone(len(bodies), number)
        singles = {row: self._call(self.endpoint, replace(request, body=bodies[row], rows=1)) for row in rows}
        times.alone += [single.milliseconds for single in singles.values() if single.milliseconds is not None]
        found = judge(request, replace(whole, numbers=numbers), singles)
        found = found or repeated(self._first.setdefault(request.name, numbers), numbers, number)
        if found:
            self._problems[request.name] = found

    def _whole(self, request: GoldenRequest, times: _Times) -> Reply:
        """Ask the candidate, and the live model beside it where they are compared."""
        ours = self._call(self.endpoint, request)
        if ours.milliseconds is not None:
            times.whole.append(ours.milliseconds)
        if self._is_compared:
            theirs = self._call(str(self.live), request)
            if theirs.problem is None and theirs.milliseconds is not None:
                times.live.append(theirs.milliseconds)
            if request.name not in self._first and is_whole(request, ours) and is_whole(request, theirs):
                self._differences += deviations(ours.numbers, theirs.numbers)
        return ours

    def _judge_times(self, requests: Sequence[GoldenRequest]) -> None:
        """Judge the medians so far; a request that seems too slow is asked some times more before that is believed."""
        for request in requests:
            times = self._times[request.name]
            if self._slow(times):
                for number in range(ROUNDS):
                    self._whole(turned(request, number), times)
            if found := self._slow(times):
                self._problems[request.name] = found

    def _slow(self, times: _Times) -> list[str]:
        limit = self.spec.max_latency_ms
        alone = slowness(times.alone, (), max_latency_ms=limit, max_slowdown=None)
        return [
            *slowness(times.whole, times.live, max_latency_ms=limit, max_slowdown=self.spec.max_slowdown),
            *(f"rows alone: {problem}" for problem in alone),
        ]

    def _distance(self) -> list[str]:
        """Return what is wrong with the distance to the live model, where it was asked for."""
        if self.live is None or self.spec.max_deviation is None or (self._problems and not self._differences):
            return []
        problem = deviation_problem(self._differences, self.spec.max_deviation)
        return [] if problem is None else [problem]

    def _call(self, endpoint: str, request: GoldenRequest) -> Reply:
        if not self.has_time():
            raise _OutOfTimeError
        self.calls += 1
        reply = self.ask(endpoint, request)
        self._asked_again += reply.was_asked_again and endpoint == self.endpoint
        return reply


def _alone(count: int, number: int) -> Sequence[int]:
    """Return which of a request's rows are sent alone in a round: all, or of many rows others each time."""
    start = (number - 1) * ALONE
    return [(start + index) % count for index in range(min(count, ALONE))]


def _turned_back(numbers: Sequence[float], by: int) -> tuple[float, ...]:
    """Return the answers to turned rows in the order of the request."""
    start = by % len(numbers) if numbers else 0
    return (*numbers[start:], *numbers[:start])
