"""Golden requests: what a candidate must answer before it gets traffic, and calls that stand in for thin traffic.

Judging is pure; ``GoldenCaller`` reads the set, calls the endpoints and measures. Every call carries an inference id by which
monitors leave it out.

See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

import hashlib
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.contracts import from_dict
from mlops_runtime.contracts.capture import SYNTHETIC_PREFIX
from mlops_runtime.contracts.serving import GoldenRequest, GoldenSpec
from mlops_runtime.rollout.golden_set import CSV, JSON, GoldenSetError, media_type, single_bodies, verified_set

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

MAXIMUM_REASON = 1000
# throttling and 5xx are the platform's and are asked again; a model's own error is 424 and is not. SageMaker itself gives a
# container 60 seconds, so a longer read timeout leaves that verdict to it
RETRIES = Config(retries={"mode": "standard", "total_max_attempts": 4}, read_timeout=70)
# as the evaluation's: 32-bit sums in another order
_RELATIVE_TOLERANCE, _ABSOLUTE_TOLERANCE = 1e-4, 1e-6
_MAXIMUM_SHOWN = 160


class GoldenCallError(RuntimeError):
    """An endpoint could not be asked, which says nothing of its model: the check has no verdict and may be run again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of one call: numbers, or a problem. Without ``milliseconds`` the platform was asked again, so no time is known."""

    numbers: tuple[float, ...] = ()
    problem: str | None = None
    milliseconds: float | None = None


def read_answer(body: bytes, content_type: str) -> Reply:
    """Return the predictions of a 2xx answer: ``{"predictions": [...]}``, or the first column of CSV.

    Example:
        >>> read_answer(b'{"predictions": [1.5, 2]}', "application/json").numbers
        (1.5, 2.0)
    """
    kind = media_type(content_type)
    if kind not in (JSON, CSV):
        return Reply(problem=f"answered with content type {content_type!r}, {JSON} or {CSV} is allowed")
    text = body.decode(errors="replace")
    try:
        if kind == CSV:
            return Reply(numbers=tuple(float(line.partition(",")[0]) for line in text.splitlines() if line))
        return Reply(numbers=tuple(map(_number, json.loads(text)["predictions"])))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        what = '{"predictions": [numbers]}' if kind == JSON else "a number at the start of each line"
        return Reply(problem=f"answered {_shown(text)}, {what} is allowed ({type(error).__name__}: {_shown(error)})")


def judge(
    request: GoldenRequest, whole: Reply, singles: Sequence[Reply] = (), *, max_latency_ms: int | None = None
) -> list[str]:
    """Return what is wrong with the answers to one request, each with what was got and what is allowed.

    Args:
        request: The request.
        whole: The answer to all its rows at once.
        singles: The answers to its rows one by one. Default: it was not sent so.
        max_latency_ms: Milliseconds that a call may take. Default: any.

    Example:
        >>> request = GoldenRequest(name="typical", body="1.5", rows=1, content_type="text/csv", minimum=0)
        >>> judge(request, Reply(numbers=(-2.0,)))
        ['1 of 1 numbers below the minimum 0, first in row 0: got -2.0']
    """
    if whole.problem is not None:
        return [whole.problem]
    problems = list(_number_problems(request, whole.numbers))
    slowest = max((reply.milliseconds for reply in (whole, *singles) if reply.milliseconds is not None), default=0)
    if max_latency_ms is not None and slowest > max_latency_ms:
        problems.append(f"a call took {slowest:.0f} ms, at most {max_latency_ms} ms are allowed")
    return [*problems, *_single_problems(whole.numbers, singles)]


def deviations(candidate: Sequence[float], live: Sequence[float]) -> list[float]:
    """Return the relative difference of each number to the live model's; infinite where only the live one is 0.

    Example:
        >>> deviations([1.0, 3.0, 0.0], [2.0, 3.0, 0.0])
        [0.5, 0.0, 0.0]
    """
    pairs = zip(candidate, live, strict=True)
    return [
        0.0 if ours == theirs else abs(ours - theirs) / abs(theirs) if theirs else math.inf for ours, theirs in pairs
    ]


def deviation_problem(differences: Sequence[float], limit: float) -> str | None:
    """Return what is wrong with the candidate's distance to the live model. A distance that is not known is not accepted."""
    if not differences:
        return (
            "the live model answered no golden request, so the deviation is not known; roll back first, or leave "
            "max_deviation out"
        )
    found = statistics.median(differences)
    if found <= limit:
        return None
    return (
        f"the median relative deviation from the live model is {found:.3g} over {len(differences)} numbers, at most "
        f"{limit:g} is allowed"
    )


def synthetic_id(number: int, about: str) -> str:
    """Return the inference id of a call, by which monitors leave it out; it follows from what the call is about.

    Example:
        >>> synthetic_id(1, "2017-08-01T09:00:00Z/demand-forecast")
        'mlops-synthetic-1-29174fbf3e2370f6'
    """
    return f"{SYNTHETIC_PREFIX}{number}-{hashlib.sha256(f'{about}/{number}'.encode()).hexdigest()[:16]}"


def reason_of(problems: Mapping[str, Sequence[str]], *, of: int, others: Sequence[str] = ()) -> str:
    """Return one text that names every failing request, each with an equal share of `MAXIMUM_REASON` characters."""
    head = f"{len(problems)} of {of} golden requests failed: " if problems else ""
    tail = "".join(f"; {other}" for other in others) if head else "; ".join(others)
    share = max(40, (MAXIMUM_REASON - len(head) - len(tail)) // max(1, len(problems)) - 2)
    texts = (f"{name}: {', '.join(found)}" for name, found in problems.items())
    return _cut(head + "; ".join(_cut(text, share) for text in texts) + tail, MAXIMUM_REASON)


class GoldenCaller:
    """Sends golden requests.

    Args:
        s3: Client.
        runtime: Client, made with `RETRIES`.
        timer: Gives seconds, from any start, and never goes back. Default: the process's own.
    """

    def __init__(
        self, *, s3: "S3Client", runtime: "SageMakerRuntimeClient", timer: Callable[[], float] = time.perf_counter
    ) -> None:
        self._s3, self._runtime, self._timer = s3, runtime, timer
        self._sets: dict[str, tuple[GoldenRequest, ...]] = {}

    def handle(self, event: Mapping[str, Any], *, has_time: Callable[[], bool] = lambda: True) -> dict[str, Any]:
        """Do what the Deploy machine asks for: ``{"mode": "check" | "traffic", "endpoint", "golden", ...}``.

        Args:
            event: The arguments of the state.
            has_time: Whether another call still fits. Default: always.

        Raises:
            GoldenCallError: If an endpoint could not be asked.
            ValueError: If the mode is neither.
        """
        spec, endpoint = from_dict(GoldenSpec, event["golden"]), str(event["endpoint"])
        if event["mode"] == "check":
            return self.check(spec, endpoint=endpoint, live_endpoint=event.get("live_endpoint"), has_time=has_time)
        if event["mode"] == "traffic":
            calls, now = int(event["calls"]), str(event["now"])
            return self.send(spec, endpoint=endpoint, calls=calls, now=now, has_time=has_time)
        raise ValueError(f"mode must be 'check' or 'traffic', got {event['mode']!r}")

    def check(
        self, spec: GoldenSpec, *, endpoint: str, live_endpoint: str | None, has_time: Callable[[], bool]
    ) -> dict[str, Any]:
        """Return the verdict on the endpoint's model: ``{"passed", "reason", "calls"}``."""
        try:
            requests = self._requests(spec)
        except GoldenSetError as error:
            return {"passed": False, "reason": _cut(str(error), MAXIMUM_REASON), "calls": 0}
        rehearsal = _Rehearsal(ask=self._ask, spec=spec, endpoint=endpoint, live=live_endpoint, has_time=has_time)
        reason = rehearsal.run(requests)
        passed = f"all {len(requests)} golden requests were answered rightly"
        return {"passed": not reason, "reason": reason or passed, "calls": rehearsal.calls}

    def send(
        self, spec: GoldenSpec, *, endpoint: str, calls: int, now: str, has_time: Callable[[], bool]
    ) -> dict[str, int]:
        """Send ``calls`` golden requests, beginning at another one each time; count the failures and raise none of them."""
        requests = self._requests(spec)
        first = int(hashlib.sha256(now.encode()).hexdigest(), 16) % len(requests)
        done = failures = 0
        while done < calls and has_time():
            request = requests[(first + done) % len(requests)]
            done += 1
            try:
                failures += bool(judge(request, self._ask(endpoint, request, synthetic_id(done, f"{now}/{endpoint}"))))
            except GoldenCallError:
                failures += 1
        return {"calls": done, "failures": failures}

    def _requests(self, spec: GoldenSpec) -> tuple[GoldenRequest, ...]:
        """Return the set; kept, because its hash names its content."""
        if spec.sha256 not in self._sets:
            bucket, _, key = spec.uri.removeprefix("s3://").partition("/")
            content = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            self._sets[spec.sha256] = verified_set(content, spec.sha256)
        return self._sets[spec.sha256]

    def _ask(self, endpoint: str, request: GoldenRequest, inference_id: str) -> Reply:
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
        was_retried = answer["ResponseMetadata"].get("RetryAttempts", 0) > 0
        return replace(read_answer(body, answer.get("ContentType", "")), milliseconds=None if was_retried else took)


class _OutOfTimeError(Exception):
    """Another call does not fit into the function's time."""


@dataclass(slots=True, kw_only=True)
class _Rehearsal:
    """One check: the calls made so far, and what was found."""

    ask: Callable[[str, GoldenRequest, str], Reply]
    spec: GoldenSpec
    endpoint: str
    live: str | None
    has_time: Callable[[], bool]
    calls: int = 0
    problems: dict[str, list[str]] = field(default_factory=dict)
    differences: list[float] = field(default_factory=list)

    def run(self, requests: Sequence[GoldenRequest]) -> str:
        """Return why the candidate fails; the empty text if it does not."""
        others: list[str] = []
        done = 0
        try:
            self._call(self.endpoint, requests[0])  # pays for what a container loads late, and is not judged
            for done, request in enumerate(requests):  # noqa: B007 # told if time runs out
                self._request(request)
        except _OutOfTimeError:
            others.append(f"time ran out after {done} of {len(requests)} golden requests; make the set smaller")
        else:
            others += self._distance()
        return reason_of(self.problems, of=len(requests), others=others) if self.problems or others else ""

    def _request(self, request: GoldenRequest) -> None:
        whole = self._call(self.endpoint, request)
        bodies = () if whole.problem is not None else single_bodies(request)
        singles = [self._call(self.endpoint, replace(request, body=body, rows=1)) for body in bodies]
        found = judge(request, whole, singles, max_latency_ms=self.spec.max_latency_ms)
        if found:
            self.problems[request.name] = found
        if self.live is not None and self.spec.max_deviation is not None:
            theirs = self._call(self.live, request)
            if _is_whole(request, whole) and _is_whole(request, theirs):
                self.differences += deviations(whole.numbers, theirs.numbers)

    def _distance(self) -> list[str]:
        """Return what is wrong with the distance to the live model, where it was asked for."""
        if self.live is None or self.spec.max_deviation is None or (self.problems and not self.differences):
            return []
        problem = deviation_problem(self.differences, self.spec.max_deviation)
        return [] if problem is None else [problem]

    def _call(self, endpoint: str, request: GoldenRequest) -> Reply:
        if not self.has_time():
            raise _OutOfTimeError
        self.calls += 1
        return self.ask(endpoint, request, synthetic_id(self.calls, f"{self.spec.sha256}/{endpoint}"))


def _is_whole(request: GoldenRequest, reply: Reply) -> bool:
    return len(reply.numbers) == request.rows and all(map(math.isfinite, reply.numbers))


def _number_problems(request: GoldenRequest, numbers: Sequence[float]) -> Iterator[str]:
    if len(numbers) != request.rows:
        yield f"got {len(numbers)} numbers for {request.rows} rows"
    low, high = request.minimum, request.maximum
    checks: dict[str, Callable[[float], bool]] = {
        "are not finite": lambda number: not math.isfinite(number),
        f"below the minimum {low:g}" if low is not None else "": lambda number: low is not None and number < low,
        f"above the maximum {high:g}" if high is not None else "": lambda number: high is not None and number > high,
    }
    for what, is_wrong in checks.items():
        wrong = [row for row, number in enumerate(numbers) if is_wrong(number)]
        if wrong:
            yield f"{len(wrong)} of {len(numbers)} numbers {what}, first in row {wrong[0]}: got {numbers[wrong[0]]}"


def _single_problems(numbers: Sequence[float], singles: Sequence[Reply]) -> Iterator[str]:
    if len(numbers) != len(singles):
        return
    failed = [(row, reply.problem) for row, reply in enumerate(singles) if reply.problem is not None]
    if failed:
        row, problem = failed[0]
        yield f"{len(failed)} of {len(singles)} rows fail alone, first row {row}: {problem}"
    pairs = [(row, reply.numbers, numbers[row]) for row, reply in enumerate(singles) if reply.problem is None]
    apart = [pair for pair in pairs if len(pair[1]) != 1 or not _is_near(pair[1][0], pair[2])]
    if apart:
        row, alone, among = apart[0]
        shown = alone[0] if len(alone) == 1 else f"{len(alone)} numbers"
        yield (
            f"{len(apart)} of {len(singles)} rows differ alone, first row {row}: got {shown} alone and {among} among "
            f"{len(singles)}, a relative {_RELATIVE_TOLERANCE:g} is allowed"
        )


def _is_near(a: float, b: float) -> bool:
    same = math.isclose(a, b, rel_tol=_RELATIVE_TOLERANCE, abs_tol=_ABSOLUTE_TOLERANCE)
    return same or (math.isnan(a) and math.isnan(b))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _model_error(error: ClientError) -> str:
    status = error.response.get("OriginalStatusCode", "no status")
    message = error.response.get("OriginalMessage") or error.response["Error"].get("Message", "")
    return f"the model answered {status}, 2xx is allowed: {_shown(message)}"


def _shown(value: object) -> str:
    return _cut(str(value), _MAXIMUM_SHOWN)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
