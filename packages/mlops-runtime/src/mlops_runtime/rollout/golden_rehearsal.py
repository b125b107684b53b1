"""Rehearse a candidate with golden requests: several rounds, rows alone and among others, beside the live model."""

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

ROUNDS = 5  # odd, and a median that two slow calls do not move
# of one that serves: two rounds, and 40 calls, which miss one bad instance of two with 1e-12, one of ten with 1.5 %
_ROUNDS_AGAIN, _CALLS_AGAIN = 2, 40
ALONE = 32  # rows of a request that are sent alone in a round
# a request that seems slow is measured again later, beside the live model, and fails only if it is slow each time
RECHECKS, RECHECK_CALLS, PAUSE_SECONDS = 3, 7, 20.0
# calls that are slow at the candidate alone: twice as many as the live model's own are accepted, since on a busy machine the newer
# of two processes waits more often; as long as more than chance is likely they are measured on
_HESITATES, _MAY_HESITATE = 0.001, 0.3
# a model's answers to nearly the same rows: of trees half of the rows do not move at all
_STEP = 0.05
CATEGORIES = "categories"  # the generated request with a row of each category
# the platform may fail once, and its client retries; a second unanswered call is not accepted
_ASKED_AGAIN = 1
_BEFORE = "than before it had traffic"
_UNKNOWN_COLUMN = "unknown column"  # as the server answers a request
Ask = Callable[[str, GoldenRequest], Reply]
# slot, request and inference id
AskSlot = Callable[[str, GoldenRequest, str], Reply]

# throttling and 5xx are the platform's and are asked again; a model's own error is 424 and is not. SageMaker itself gives a
# container 60 seconds, so a longer read timeout leaves that verdict to it
RETRIES = Config(retries={"mode": "standard", "total_max_attempts": 4}, read_timeout=70)


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
        live: That of the live model. Default: none.
        has_time: Whether another call still fits.
        known: What the candidate answered to each request before. Default: it was not asked before.
        rounds: How often each request is sent. Default: `ROUNDS`.
        is_alone: Whether rows are sent alone, too. Default: they are.
        pause: Waits for so many seconds before what seems slow is measured again. Default: it does.
    """

    ask: Ask
    spec: GoldenSpec
    endpoint: str
    live: str | None
    has_time: Callable[[], bool]
    known: Mapping[str, Sequence[float]] = field(default_factory=dict)
    rounds: int | None = None
    is_alone: bool = True
    pause: Callable[[float], None] = time.sleep
    calls: int = 0
    _asked_again: int = 0
    _problems: dict[str, list[str]] = field(default_factory=dict)
    _first: dict[str, tuple[float, ...]] = field(default_factory=dict)
    _times: dict[str, _Times] = field(default_factory=dict)
    _differences: list[float] = field(default_factory=list)
    _live_asked: set[str] = field(default_factory=set)
    _live_failed: set[str] = field(default_factory=set)
    _suspects: int = 0
    _timed: list[tuple[str, float, float]] = field(default_factory=list)
    _far: list[str] = field(default_factory=list)
    _nearby: list[float] = field(default_factory=list)

    def run(self, requests: Sequence[GoldenRequest]) -> str:
        """Return why the candidate fails; the empty text if it does not. Nothing more is asked after a round with a failure."""
        others: list[str] = []
        number = done = 0
        try:
            for endpoint in self._asked:  # pays for lazy loading of a container, and is not evaluated
                self._call(endpoint, requests[0])
            for number in range(1, self._rounds + 1):
                for done, request in enumerate(requests):  # noqa: B007 # told if time runs out
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
                "the golden requests have a column that the model does not take: take it out of them, as mlops new --leave-out "
                "does, or train a model that takes it"
            )
        if self._asked_again > _ASKED_AGAIN:
            others.append(
                f"{self._asked_again} of {self.calls} calls had to be asked again, at most {_ASKED_AGAIN} may: the container "
                "was not there, or the platform; approve it again if it was the platform"
            )
        return reason_of(self._problems, of=len(requests), others=others) if self._problems or others else ""

    @property
    def answers(self) -> Mapping[str, Sequence[float]]:
        """What the candidate answered to each request."""
        return self._first

    @property
    def note(self) -> str:
        """What was left out, as the record says it; empty where nothing was."""
        if not self._live_failed:
            return ""
        failed = f"the live model fails {len(self._live_failed)} of {len(self._live_asked)} golden requests"
        what = "nothing was compared with it" if not self._differences else "these were not compared with it"
        return f"{failed}, so {what}"

    @property
    def _rounds(self) -> int:
        return ROUNDS if self.rounds is None else self.rounds

    @property
    def _asked(self) -> tuple[str, ...]:
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
        # the last time with numbers that are hardly larger: who knows the very requests knows nothing of these
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
        """Ask the candidate, and the live model beside it where they are compared."""
        ours = self._call(self.endpoint, request)
        if ours.milliseconds is not None:
            times.whole.append(ours.milliseconds)
        if self._is_compared:
            theirs = self._call(str(self.live), request)
            self._live_asked.add(request.name)
            if judge(request, theirs):
                # numbers and time of a wrong answer are not comparable
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
        """Measure again what may be too slow: a machine is busy for a while, a slow model is slow in every later check.

        Waits hide how slow a model is beside another: a check in which it may be slow asks for the next, and the last one decides.
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
        told = f"as slow in each of {RECHECKS} later checks, {PAUSE_SECONDS:g} s apart"
        for name in suspects:
            if found := self._slow(checks[name]):
                self._problems[name] = [f"{problem}; {told}" for problem in found]

    def _judge_hesitations(self, requests: Sequence[GoldenRequest]) -> list[str]:
        """Return what is wrong with the share of calls that are much slower than usual; no median shows a share below a half.

        Where it may be more than chance, it is counted again in later checks, each call beside one of the live model: a share of
        the candidate's own is more than the live model's in each of them, and more than twice as much in all of them.
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
            f"{ours} of {calls} calls took more than {limit:g} times as long as nearly all of the live model's, which alone took "
            f"as long in {theirs}; in each of {RECHECKS} later checks, {PAUSE_SECONDS:g} s apart"
        ]

    def _timed_pairs(self) -> list[tuple[float, float, float]]:
        medians = {name: statistics.median(times.live) for name, times in self._times.items() if times.live}
        return [(own, live, medians[name]) for name, own, live in self._timed]

    def _recheck(self, request: GoldenRequest, number: int, into: _Times | None = None) -> _Times:
        """Return the times of some more calls, each beside one of the live model; into times of before without rows alone."""
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
        """Return what is wrong with answers to rows that hardly differ from the golden ones."""
        if not self._nearby or self._problems or statistics.median(self._nearby) <= _STEP:
            return []
        return [
            "rows whose numbers are a ten-thousandth larger got other answers: the median relative difference over "
            f"{len(self._nearby)} numbers is {statistics.median(self._nearby):.3g}, at most {_STEP:g} is allowed: the model knows "
            "the golden requests"
        ]

    def _distance(self) -> list[str]:
        """Return what is wrong with the distance to the live model, where it was asked for."""
        # of a live model that fails every request no distance can be known: the bounds are left
        if self.spec.max_deviation is None or not self._differences:
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


def _verdict(rehearsal: Rehearsal, requests: Sequence[GoldenRequest], rounds: int) -> dict[str, Any]:
    reason = rehearsal.run(requests)
    passed = f"all {len(requests)} golden requests were answered rightly in {rounds} rounds"
    return {"passed": not reason, "reason": reason or passed, "calls": rehearsal.calls, "note": rehearsal.note}


def _turned_back(numbers: Sequence[float], by: int) -> tuple[float, ...]:
    """Return the answers to turned rows in the order of the request."""
    start = by % len(numbers) if numbers else 0
    return (*numbers[start:], *numbers[:start])


class GoldenCaller:
    """Sends golden requests.

    Args:
        s3: Client.
        runtime: Client, made with `RETRIES`.
        bucket: Where calls to an endpoint that is watched are announced.
        slots: Asks a slot by its name, where the model is served in slots. Default: SageMaker serves it.
        timer: Gives seconds, from any start, monotonically. Default: the process's own.
        nonce: Gives random bytes, in hexadecimal digits. Default: the operating system's.
        pause: Waits for so many seconds. Default: it does.
    """

    def __init__(
        self,
        *,
        s3: "S3Client",
        runtime: "SageMakerRuntimeClient",
        bucket: str,
        slots: AskSlot | None = None,
        timer: Callable[[], float] = time.perf_counter,
        nonce: Callable[[int], str] = secrets.token_hex,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._s3, self._runtime, self._bucket, self._timer, self._nonce = s3, runtime, bucket, timer, nonce
        self._slots, self._pause = slots, pause
        self._sets: dict[str, tuple[GoldenRequest, ...]] = {}
        self._answers = RehearsedAnswers(s3=s3, bucket=bucket)

    def handle(self, event: Mapping[str, Any], *, has_time: Callable[[], bool] = lambda: True) -> dict[str, Any]:
        """Do what the Deploy machine asks for: ``{"mode": "check" | "again" | "traffic", "endpoint", "golden", ...}``.

        With ``slot`` and ``live_slot`` those of the endpoint are asked: what is captured of either is captured of the endpoint.

        Args:
            event: The arguments of the state.
            has_time: Whether another call still fits. Default: always.

        Raises:
            GoldenCallError: If an endpoint could not be asked.
            ValueError: If the mode is another.
        """
        spec, endpoint = from_dict(GoldenSpec, event["golden"]), str(event["endpoint"])
        at, execution = event.get("now"), str(event.get("execution", ""))
        slot = event.get("slot")
        if event["mode"] == "check":
            live = event.get("live_endpoint" if slot is None else "live_slot")
            watched = live if slot is None else endpoint
            announce = partial(self._announce, watched, now=at, execution=execution)
            return self.check(
                spec,
                endpoint=endpoint if slot is None else slot,
                live_endpoint=live,
                announce=announce,
                has_time=has_time,
                keep=event.get("answers"),
            )
        if event["mode"] == "again":
            announce = partial(self._announce, endpoint, now=at, execution=execution)
            return self.check_again(
                spec,
                endpoint=endpoint if slot is None else slot,
                answers=event["answers"],
                announce=announce,
                has_time=has_time,
            )
        if event["mode"] == "traffic":
            calls, now = int(event["calls"]), str(event["now"])
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
        """Return the verdict on the endpoint's model, ``{"passed", "reason", "calls"}``, and keep a right one's answers."""
        try:
            requests = self._requests(spec)
        except GoldenSetError as error:
            return {"passed": False, "reason": cut(str(error), MAXIMUM_REASON), "calls": 0, "note": ""}
        # to the live model: one to warm up, one a round, those of later checks where a request seems slow, or some calls do
        calls = 1 + (ROUNDS + RECHECKS * RECHECK_CALLS) * len(requests)
        if self._slots is not None:
            # the candidate's calls are captured as the live model's, its rows alone among them
            alone = ROUNDS * sum(min(each.rows, ALONE) for each in requests)
            calls += calls + alone + RECHECKS * RECHECK_CALLS * len(requests)
        nonce = announce(calls)
        rehearsal = Rehearsal(
            ask=lambda asked, request: self._ask(asked, request, synthetic_id(rehearsal.calls, nonce)),
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
        """Return the verdict on a model that serves: the bounds that it had before, and the very answers that it gave then.

        The live model of then serves no longer, so nothing is compared with it.
        """
        requests = self._requests(spec)
        rounds = max(_ROUNDS_AGAIN, -(-_CALLS_AGAIN // len(requests)))
        # one to warm up, and later checks where a request seems slow
        nonce = announce(1 + (rounds + RECHECKS * RECHECK_CALLS) * len(requests))
        rehearsal = Rehearsal(
            ask=lambda asked, request: self._ask(asked, request, synthetic_id(rehearsal.calls, nonce)),
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
        """Send ``calls`` golden requests, beginning at another one each time; count the failures and raise none of them."""
        requests = self._requests(spec)
        first = int(hashlib.sha256(now.encode()).hexdigest(), 16) % len(requests)
        done = failures = 0
        while done < calls and has_time():
            request = requests[(first + done) % len(requests)]
            done += 1
            try:
                failures += bool(judge(request, self._ask(endpoint, request, synthetic_id(done, nonce))))
            except GoldenCallError:
                failures += 1
        return {"calls": done, "failures": failures}

    def _announce(self, endpoint: str | None, calls: int, *, now: str | None, execution: str) -> str:
        """Announce calls to an endpoint that is watched, before they are made, and return their nonce."""
        nonce = self._nonce(16)
        # an execution that began before an upgrade gives no time: its calls count as any caller's
        if endpoint is not None and now is not None:
            body = json.dumps({"endpoint": endpoint, "execution": execution, "at": now, "calls": calls})
            key = announcement_key(endpoint, datetime.fromisoformat(now), calls, nonce)
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=body.encode())
        return nonce

    def _requests(self, spec: GoldenSpec) -> tuple[GoldenRequest, ...]:
        """Return the set; kept, because its hash names its content."""
        if spec.sha256 not in self._sets:
            bucket, _, key = spec.uri.removeprefix("s3://").partition("/")
            content = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            self._sets[spec.sha256] = verified_set(content, spec.sha256)
        return self._sets[spec.sha256]

    def _ask(self, endpoint: str, request: GoldenRequest, inference_id: str) -> Reply:
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
                raise GoldenCallError(f"endpoint {endpoint!r} could not be asked: {error}") from error
            return Reply(problem=_model_error(error))
        except BotoCoreError as error:
            raise GoldenCallError(f"endpoint {endpoint!r} could not be asked: {error}") from error
        took = 1000 * (self._timer() - started)
        was_asked_again = answer["ResponseMetadata"].get("RetryAttempts", 0) > 0
        reply = read_answer(body, answer.get("ContentType", ""), request.columns)
        return replace(reply, milliseconds=None if was_asked_again else took, was_asked_again=was_asked_again)


def _model_error(error: ClientError) -> str:
    message = str(error.response.get("OriginalMessage") or error.response["Error"].get("Message", ""))
    return refusal(error.response.get("OriginalStatusCode", "no status"), message)
