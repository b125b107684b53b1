"""Rehearsal of a candidate with golden requests: several rounds, rows alone and in batches, compared with the live model."""

import hashlib
import json
import secrets
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.contracts import from_dict
from mlops_runtime.contracts.capture import announcement_key, synthetic_id
from mlops_runtime.contracts.serving import GoldenRequest, GoldenSpec
from mlops_runtime.rollout.golden_answers import (
    MAXIMUM_REASON,
    GoldenCallError,
    Reply,
    busyness,
    chance_of,
    cut,
    deviation_problem,
    deviations,
    hesitations,
    is_whole,
    judge,
    may_be_slow,
    read_answer,
    reason_of,
    refusal,
    repeated,
    row_deviations,
    slowness,
)
from mlops_runtime.rollout.golden_set import GoldenSetError, nudged, single_bodies, turned, verified_set
from mlops_runtime.rollout.rehearsed_answers import RehearsedAnswers

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

ROUNDS = 5  # odd, so that two slow calls do not move the median
# for a live fleet: two rounds and 40 calls, which miss one bad instance of two with 1e-12, one of ten with 1.5 %
_ROUNDS_AGAIN, _CALLS_AGAIN = 2, 40
ALONE = 32  # rows of a request that are sent alone in a round
# a request that seems slow is measured again later, beside the live model, and fails only if it is slow each time
RECHECKS, RECHECK_CALLS, PAUSE_SECONDS = 3, 7, 20.0
# slow calls of the candidate alone: up to twice as many as of the live model alone are accepted, since on a busy machine the newer
# of two processes waits more often. The first is the probability below which the candidate fails, the second that below which calls
# are measured again
_HESITATES, _MAY_HESITATE = 0.001, 0.3
# largest median difference of predictions for nearly the same rows: with trees, half of them do not change at all
_STEP = 0.05
CATEGORIES = "categories"  # the generated request with a row of each category
# the platform may fail once, and the client retries; a second retried call is not accepted
_MAX_RETRIED = 1
_BEFORE = "than before it had traffic"
_UNKNOWN_COLUMN = "unknown column"  # part of the server's error message
Invoke = Callable[[str, GoldenRequest], Reply]
# slot, request and inference id
InvokeSlot = Callable[[str, GoldenRequest, str], Reply]

# throttling and 5xx come from the platform and are retried; a model's own error is 424 and is not. SageMaker's own timeout for a
# container is 60 seconds, so a longer read timeout leaves that decision to SageMaker
RETRIES = Config(retries={"mode": "standard", "total_max_attempts": 4}, read_timeout=70)


class _OutOfTimeError(Exception):
    """The function has no time for another call."""


@dataclass(slots=True)
class _Times:
    """Milliseconds of one request's calls: all rows, single rows, and all rows at the live model."""

    whole: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    live: list[float] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Rehearsal:
    """One check of a candidate, with the calls made so far and the problems found."""

    invoke: Invoke  # sends a request to an endpoint
    spec: GoldenSpec  # the golden set's limits
    endpoint: str  # the candidate's endpoint
    live: str | None  # the live model's endpoint; None without one
    has_time: Callable[[], bool]  # returns whether there is time for another call
    # the candidate's earlier predictions for each request
    known: Mapping[str, Sequence[float]] = field(default_factory=dict)
    rounds: int | None = None  # number of times that each request is sent. Default: `ROUNDS`
    is_alone: bool = True  # whether rows are also sent alone
    # waits some seconds before slow requests are measured again. Default: `time.sleep`
    pause: Callable[[float], None] = time.sleep
    calls: int = 0
    _retried: int = 0
    _problems: dict[str, list[str]] = field(default_factory=dict)
    _first: dict[str, tuple[float, ...]] = field(default_factory=dict)
    _times: dict[str, _Times] = field(default_factory=dict)
    _differences: list[float] = field(default_factory=list)
    _live_requests: set[str] = field(default_factory=set)
    _live_failed: set[str] = field(default_factory=set)
    _suspects: int = 0
    _timed: list[tuple[str, float, float]] = field(default_factory=list)
    _far: list[str] = field(default_factory=list)
    _nearby: list[float] = field(default_factory=list)

    def run(self, requests: Sequence[GoldenRequest]) -> str:
        """Return why the candidate fails; an empty string if it passes. A round with a failure is the last one."""
        others: list[str] = []
        number = done = 0
        try:
            for endpoint in self._endpoints:  # warms up a container that loads lazily; not evaluated
                self._call(endpoint, requests[0])
            for number in range(1, self._rounds + 1):
                for done, request in enumerate(requests):  # noqa: B007 # reported if time runs out
                    self._round(request, number)
                if self._problems:
                    break
            if not self._problems:
                self._judge_times(requests)
                others += self._judge_hesitations(requests)
        except _OutOfTimeError:
            others.append(
                f"time ran out while {self._suspects} of {len(requests)} golden requests that seemed slow were measured again; "
                "make the set smaller, or the model faster"
                if self._suspects
                else f"time ran out after {done} of {len(requests)} golden requests in round {max(1, number)} of {self._rounds}; "
                "make the set smaller"
            )
        else:
            others += self._distance()
            others += self._steps()
        if any(_UNKNOWN_COLUMN in text for found in self._problems.values() for text in found):
            others.append(
                "the golden requests have a column that the model does not have: leave it out of them (mlops new --leave-out), or "
                "train a model with it"
            )
        if self._retried > _MAX_RETRIED:
            others.append(
                f"{self._retried} of {self.calls} calls had to be retried, at most {_MAX_RETRIED} is allowed: the container "
                "or the platform was unavailable; if it was the platform, approve the package again"
            )
        return reason_of(self._problems, of=len(requests), others=others) if self._problems or others else ""

    @property
    def answers(self) -> Mapping[str, Sequence[float]]:
        """The candidate's first predictions for each request."""
        return self._first

    @property
    def note(self) -> str:
        """Comparisons that were left out, for the record; empty if none was."""
        if not self._live_failed:
            return ""
        failed = f"the live model fails {len(self._live_failed)} of {len(self._live_requests)} golden requests"
        what = "nothing was compared with it" if not self._differences else "these were not compared with it"
        return f"{failed}, so {what}"

    @property
    def _rounds(self) -> int:
        return ROUNDS if self.rounds is None else self.rounds

    @property
    def _endpoints(self) -> tuple[str, ...]:
        return (self.endpoint,) if not self._is_compared else (self.endpoint, str(self.live))

    @property
    def _is_compared(self) -> bool:
        spec = self.spec
        return self.live is not None and any(
            limit is not None for limit in (spec.max_deviation, spec.max_slowdown, spec.max_row_deviation)
        )

    def _round(self, request: GoldenRequest, number: int) -> None:
        """Send a request once, and its rows alone."""
        times = self._times.setdefault(request.name, _Times())
        # the last round has slightly larger numbers: a model that memorized the requests fails on them
        larger = nudged(request) if self.is_alone and number == self._rounds > 1 else request
        is_nudged, request = larger != request, larger
        bodies = single_bodies(request)
        by = number - 1 if bodies else 0
        whole = self._whole(turned(request, by), times)
        columns = request.columns or 1
        numbers = _turned_back(whole.numbers, by * columns)
        rows = () if whole.problem is not None or not self.is_alone else _alone(len(bodies), number)
        singles = {row: self._call(self.endpoint, replace(request, body=bodies[row], rows=1)) for row in rows}
        times.alone += [single.milliseconds for single in singles.values() if single.milliseconds is not None]
        found = judge(request, replace(whole, numbers=numbers), singles)
        if request.name == CATEGORIES:
            found = found or self._far
        first = self._first.setdefault(request.name, numbers)
        if is_nudged:
            self._nearby += deviations(numbers, first) if len(numbers) == len(first) else []
        else:
            found = found or repeated(first, numbers, f"in round {number}", columns=columns)
        found = found or repeated(self.known.get(request.name, numbers), numbers, _BEFORE, columns=columns)
        if found:
            self._problems[request.name] = found

    def _whole(self, request: GoldenRequest, times: _Times) -> Reply:
        """Send a request to the candidate and, if they are compared, to the live model."""
        ours = self._call(self.endpoint, request)
        if ours.milliseconds is not None:
            times.whole.append(ours.milliseconds)
        if self._is_compared:
            theirs = self._call(str(self.live), request)
            self._live_requests.add(request.name)
            if judge(request, theirs):
                # predictions and time of a failed response are not comparable
                self._live_failed.add(request.name)
                return ours
            if theirs.milliseconds is not None:
                times.live.append(theirs.milliseconds)
                if ours.milliseconds is not None:
                    self._timed.append((request.name, ours.milliseconds, theirs.milliseconds))
            if request.name not in self._first and is_whole(request, ours):
                self._differences += deviations(ours.numbers, theirs.numbers)
                limit = self.spec.max_row_deviation
                if limit is not None and request.name == CATEGORIES:
                    self._far = row_deviations(request, ours.numbers, theirs.numbers, limit)
        return ours

    def _judge_times(self, requests: Sequence[GoldenRequest]) -> None:
        """Measure slow requests again: a machine is busy for a while, but a slow model is slow in every later check.

        Waits hide a model's slowness relative to another. While a check finds that it may be slow, another one follows; the last
        one decides.
        """
        suspects = {request.name: request for request in requests if self._may_be_slow(self._times[request.name])}
        self._suspects = len(suspects)
        checks: dict[str, _Times] = {}
        for number in range(1, RECHECKS + 1):
            if not suspects:
                return
            if not self.has_time():
                raise _OutOfTimeError
            self.pause(PAUSE_SECONDS)
            checks = {name: self._recheck(request, number) for name, request in suspects.items()}
            suspects = {name: request for name, request in suspects.items() if self._may_be_slow(checks[name])}
        message = f"as slow in each of {RECHECKS} later checks, {PAUSE_SECONDS:g} s apart"
        for name in suspects:
            if found := self._slow(checks[name]):
                self._problems[name] = [f"{problem}; {message}" for problem in found]

    def _judge_hesitations(self, requests: Sequence[GoldenRequest]) -> list[str]:
        """Return the problem of a share of calls that are much slower than usual, which no median shows below one half.

        If chance does not explain the share, it is counted again in later checks, each call paired with one of the live model. The
        candidate fails if it has more slow calls than the live model in each check, and more than twice as many overall.
        """
        limit = self.spec.max_slowdown
        if limit is None or self._problems:
            return []
        if chance_of(*hesitations(self._timed_pairs(), limit), times=1) > _MAY_HESITATE:
            return []
        ours = theirs = calls = 0
        for number in range(1, RECHECKS + 1):
            if not self.has_time():
                raise _OutOfTimeError
            self.pause(PAUSE_SECONDS)
            self._timed.clear()
            for request in requests:
                self._recheck(request, number, into=self._times[request.name])
            pairs = self._timed_pairs()
            counts = hesitations(pairs, limit * busyness([live / usual for _, live, usual in pairs]))
            ours, theirs, calls = ours + counts[0], theirs + counts[1], calls + len(self._timed)
            if counts[0] <= counts[1]:
                return []
        if chance_of(ours, theirs, times=2) >= _HESITATES:
            return []
        return [
            f"{ours} of {calls} calls took more than {limit:g} times as long as nearly all of the live model's calls, and "
            f"{theirs} of the live model's calls did; confirmed in each of {RECHECKS} later checks, {PAUSE_SECONDS:g} s apart"
        ]

    def _timed_pairs(self) -> list[tuple[float, float, float]]:
        medians = {name: statistics.median(times.live) for name, times in self._times.items() if times.live}
        return [(own, live, medians[name]) for name, own, live in self._timed]

    def _recheck(self, request: GoldenRequest, number: int, into: _Times | None = None) -> _Times:
        """Return the times of more calls, each paired with one of the live model; added to ``into`` without single rows."""
        times, bodies = into or _Times(), single_bodies(request)
        is_alone = bool(bodies) and self.is_alone and into is None
        for place in range(RECHECK_CALLS):
            self._whole(turned(request, number + place) if bodies else request, times)
            if is_alone:
                row = (number * RECHECK_CALLS + place) % len(bodies)
                single = self._call(self.endpoint, replace(request, body=bodies[row], rows=1))
                times.alone += [] if single.milliseconds is None else [single.milliseconds]
        return times

    def _may_be_slow(self, times: _Times) -> bool:
        limit = self.spec.max_latency_ms
        return may_be_slow(times.alone, (), max_latency_ms=limit, max_slowdown=None) or may_be_slow(
            times.whole, times.live, max_latency_ms=limit, max_slowdown=self.spec.max_slowdown
        )

    def _slow(self, times: _Times) -> list[str]:
        limit = self.spec.max_latency_ms
        alone = slowness(times.alone, (), max_latency_ms=limit, max_slowdown=None)
        return [
            *slowness(times.whole, times.live, max_latency_ms=limit, max_slowdown=self.spec.max_slowdown),
            *(f"rows alone: {problem}" for problem in alone),
        ]

    def _steps(self) -> list[str]:
        """Return the problem of predictions for rows that hardly differ from the golden ones."""
        if not self._nearby or self._problems or statistics.median(self._nearby) <= _STEP:
            return []
        return [
            "rows whose numbers are a ten-thousandth larger got other answers: the median relative difference over "
            f"{len(self._nearby)} numbers is {statistics.median(self._nearby):.3g}, at most {_STEP:g} is allowed: the model "
            "memorized the golden requests"
        ]

    def _distance(self) -> list[str]:
        """Return the problem of the deviation from the live model, if the spec limits it."""
        # if the live model fails every request, only the bounds apply
        if self.spec.max_deviation is None or not self._differences:
            return []
        problem = deviation_problem(self._differences, self.spec.max_deviation)
        return [] if problem is None else [problem]

    def _call(self, endpoint: str, request: GoldenRequest) -> Reply:
        if not self.has_time():
            raise _OutOfTimeError
        self.calls += 1
        reply = self.invoke(endpoint, request)
        self._retried += reply.was_retried and endpoint == self.endpoint
        return reply


def _alone(count: int, number: int) -> Sequence[int]:
    """Return the indexes of the rows that a round sends alone: all, or others of many rows in each round."""
    start = (number - 1) * ALONE
    return [(start + index) % count for index in range(min(count, ALONE))]


def _verdict(rehearsal: Rehearsal, requests: Sequence[GoldenRequest], rounds: int) -> dict[str, Any]:
    reason = rehearsal.run(requests)
    passed = f"all {len(requests)} golden requests passed in {rounds} rounds"
    return {"passed": not reason, "reason": reason or passed, "calls": rehearsal.calls, "note": rehearsal.note}


def _turned_back(numbers: Sequence[float], by: int) -> tuple[float, ...]:
    """Return the predictions of rotated rows in the order of the request."""
    start = by % len(numbers) if numbers else 0
    return (*numbers[start:], *numbers[:start])


class GoldenCaller:
    """Sends golden requests.

    Args:
        s3: Client.
        runtime: Client, created with `RETRIES`.
        bucket: Bucket in which calls to a watched endpoint are announced.
        slots: Sends a request to a slot of an endpoint on EKS. Default: a SageMaker endpoint.
        timer: Returns seconds of a monotonic clock. Default: ``time.perf_counter``.
        nonce: Returns random bytes in hexadecimal digits. Default: ``secrets.token_hex``.
        pause: Waits some seconds. Default: ``time.sleep``.
    """

    def __init__(
        self,
        *,
        s3: "S3Client",
        runtime: "SageMakerRuntimeClient",
        bucket: str,
        slots: InvokeSlot | None = None,
        timer: Callable[[], float] = time.perf_counter,
        nonce: Callable[[int], str] = secrets.token_hex,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._s3, self._runtime, self._bucket, self._timer, self._nonce = s3, runtime, bucket, timer, nonce
        self._slots, self._pause = slots, pause
        self._sets: dict[str, tuple[GoldenRequest, ...]] = {}
        self._answers = RehearsedAnswers(s3=s3, bucket=bucket)

    def handle(self, event: Mapping[str, Any], *, has_time: Callable[[], bool] = lambda: True) -> dict[str, Any]:
        """Handle a request of the Deploy machine: ``{"mode": "check" | "again" | "traffic", "endpoint", "golden", ...}``.

        With ``slot`` and ``live_slot``, requests go to these slots of the endpoint; the captures of both are the endpoint's.

        Args:
            event: The arguments of the state.
            has_time: Returns whether there is time for another call. Default: always.

        Raises:
            GoldenCallError: If an endpoint could not be invoked.
            ValueError: If the mode is unknown.
        """
        spec, endpoint = from_dict(GoldenSpec, event["golden"]), str(event["endpoint"])
        now, execution = str(event["now"]), str(event["execution"])
        slot = event.get("slot")
        if event["mode"] == "check":
            live = event.get("live_endpoint" if slot is None else "live_slot")
            watched = live if slot is None else endpoint
            announce = partial(self._announce, watched, now=now, execution=execution)
            return self.check(
                spec,
                endpoint=endpoint if slot is None else slot,
                live_endpoint=live,
                announce=announce,
                has_time=has_time,
                keep=event.get("answers"),
            )
        if event["mode"] == "again":
            announce = partial(self._announce, endpoint, now=now, execution=execution)
            return self.check_again(
                spec,
                endpoint=endpoint if slot is None else slot,
                answers=event["answers"],
                announce=announce,
                has_time=has_time,
            )
        if event["mode"] == "traffic":
            calls = int(event["calls"])
            nonce = self._announce(endpoint, calls, now=now, execution=execution)
            return self.send(spec, endpoint=endpoint, calls=calls, now=now, nonce=nonce, has_time=has_time)
        raise ValueError(f"mode must be 'check', 'again' or 'traffic', got {event['mode']!r}")

    def check(
        self,
        spec: GoldenSpec,
        *,
        endpoint: str,
        live_endpoint: str | None,
        announce: Callable[[int], str],
        has_time: Callable[[], bool],
        keep: str | None = None,
    ) -> dict[str, Any]:
        """Return the verdict on the endpoint's model, ``{"passed", "reason", "calls", "note"}``; store the answers if it passed."""
        try:
            requests = self._requests(spec)
        except GoldenSetError as error:
            return {"passed": False, "reason": cut(str(error), MAXIMUM_REASON), "calls": 0, "note": ""}
        # to the live model: one to warm up, one in each round, and those of later checks of slow requests or calls
        calls = 1 + (ROUNDS + RECHECKS * RECHECK_CALLS) * len(requests)
        if self._slots is not None:
            # the candidate's calls, including single rows, are captured like the live model's
            alone = ROUNDS * sum(min(each.rows, ALONE) for each in requests)
            calls += calls + alone + RECHECKS * RECHECK_CALLS * len(requests)
        nonce = announce(calls)
        rehearsal = Rehearsal(
            invoke=lambda target, request: self._invoke(target, request, synthetic_id(rehearsal.calls, nonce)),
            spec=spec,
            endpoint=endpoint,
            live=live_endpoint,
            has_time=has_time,
            pause=self._pause,
        )
        found = _verdict(rehearsal, requests, ROUNDS)
        if found["passed"] and keep is not None:
            self._answers.keep(keep, spec.sha256, rehearsal.answers)
        return found

    def check_again(
        self,
        spec: GoldenSpec,
        *,
        endpoint: str,
        answers: str,
        announce: Callable[[int], str],
        has_time: Callable[[], bool],
    ) -> dict[str, Any]:
        """Return the verdict on a live model: its predictions must be within the bounds and equal to those of its rehearsal.

        The previous live model no longer serves, so nothing is compared with it.
        """
        requests = self._requests(spec)
        rounds = max(_ROUNDS_AGAIN, -(-_CALLS_AGAIN // len(requests)))
        # one to warm up, and later checks of slow requests
        nonce = announce(1 + (rounds + RECHECKS * RECHECK_CALLS) * len(requests))
        rehearsal = Rehearsal(
            invoke=lambda target, request: self._invoke(target, request, synthetic_id(rehearsal.calls, nonce)),
            spec=spec,
            endpoint=endpoint,
            live=None,
            has_time=has_time,
            known=self._answers.read(answers, spec.sha256),
            rounds=rounds,
            is_alone=False,
            pause=self._pause,
        )
        return _verdict(rehearsal, requests, rounds)

    def send(
        self, spec: GoldenSpec, *, endpoint: str, calls: int, now: str, nonce: str, has_time: Callable[[], bool]
    ) -> dict[str, int]:
        """Send ``calls`` golden requests, starting at another one each time; failures are counted, not raised."""
        requests = self._requests(spec)
        first = int(hashlib.sha256(now.encode()).hexdigest(), 16) % len(requests)
        done = failures = 0
        while done < calls and has_time():
            request = requests[(first + done) % len(requests)]
            done += 1
            try:
                failures += bool(judge(request, self._invoke(endpoint, request, synthetic_id(done, nonce))))
            except GoldenCallError:
                failures += 1
        return {"calls": done, "failures": failures}

    def _announce(self, endpoint: str | None, calls: int, *, now: str, execution: str) -> str:
        """Announce calls to a watched endpoint before they are made, and return their nonce."""
        nonce = self._nonce(16)
        if endpoint is not None:
            body = json.dumps({"endpoint": endpoint, "execution": execution, "at": now, "calls": calls})
            key = announcement_key(endpoint, datetime.fromisoformat(now), calls, nonce)
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=body.encode())
        return nonce

    def _requests(self, spec: GoldenSpec) -> tuple[GoldenRequest, ...]:
        """Return the golden set, cached by its hash."""
        if spec.sha256 not in self._sets:
            bucket, _, key = spec.uri.removeprefix("s3://").partition("/")
            content = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            self._sets[spec.sha256] = verified_set(content, spec.sha256)
        return self._sets[spec.sha256]

    def _invoke(self, endpoint: str, request: GoldenRequest, inference_id: str) -> Reply:
        if self._slots is not None:
            return self._slots(endpoint, request, inference_id)
        started = self._timer()
        try:
            answer = self._runtime.invoke_endpoint(
                EndpointName=endpoint,
                Body=request.body.encode(),
                ContentType=request.content_type,
                InferenceId=inference_id,
            )
            body = answer["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] != "ModelError":
                raise GoldenCallError(f"endpoint {endpoint!r} could not be invoked: {error}") from error
            return Reply(problem=_model_error(error))
        except BotoCoreError as error:
            raise GoldenCallError(f"endpoint {endpoint!r} could not be invoked: {error}") from error
        took = 1000 * (self._timer() - started)
        was_retried = answer["ResponseMetadata"].get("RetryAttempts", 0) > 0
        reply = read_answer(body, answer.get("ContentType", ""), request.columns)
        return replace(reply, milliseconds=None if was_retried else took, was_retried=was_retried)


def _model_error(error: ClientError) -> str:
    message = str(error.response.get("OriginalMessage") or error.response["Error"].get("Message", ""))
    return refusal(error.response.get("OriginalStatusCode", "no status"), message)
