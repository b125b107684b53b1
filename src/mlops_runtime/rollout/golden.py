"""Golden requests: what a candidate must answer before it gets traffic, and calls that stand in for thin traffic.

``GoldenCaller`` reads the set, calls the endpoints and measures the time; what is judged, and in which order, is pure. Every call
carries an inference id by which monitors leave it out.

See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.contracts import from_dict
from mlops_runtime.contracts.capture import SYNTHETIC_PREFIX
from mlops_runtime.contracts.serving import GoldenRequest, GoldenSpec
from mlops_runtime.rollout.golden_answers import MAXIMUM_REASON, Reply, cut, judge, read_answer, shown
from mlops_runtime.rollout.golden_rehearsal import ROUNDS, Rehearsal
from mlops_runtime.rollout.golden_set import GoldenSetError, verified_set

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

# throttling and 5xx are the platform's and are asked again; a model's own error is 424 and is not. SageMaker itself gives a
# container 60 seconds, so a longer read timeout leaves that verdict to it
RETRIES = Config(retries={"mode": "standard", "total_max_attempts": 4}, read_timeout=70)


class GoldenCallError(RuntimeError):
    """An endpoint could not be asked, which says nothing of its model: the check has no verdict and may be run again."""


def synthetic_id(number: int, about: str) -> str:
    """Return the inference id of a call, by which monitors leave it out; it follows from what the call is about.

    Example:
        >>> synthetic_id(1, "2017-08-01T09:00:00Z/demand-forecast")
        'mlops-synthetic-1-29174fbf3e2370f6'
    """
    return f"{SYNTHETIC_PREFIX}{number}-{hashlib.sha256(f'{about}/{number}'.encode()).hexdigest()[:16]}"


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
            return {"passed": False, "reason": cut(str(error), MAXIMUM_REASON), "calls": 0}
        rehearsal = Rehearsal(
            ask=lambda asked, request: self._ask(
                asked, request, synthetic_id(rehearsal.calls, f"{spec.sha256}/{asked}")
            ),
            spec=spec,
            endpoint=endpoint,
            live=live_endpoint,
            has_time=has_time,
        )
        reason = rehearsal.run(requests)
        passed = f"all {len(requests)} golden requests were answered rightly in {ROUNDS} rounds"
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
        was_asked_again = answer["ResponseMetadata"].get("RetryAttempts", 0) > 0
        reply = read_answer(body, answer.get("ContentType", ""))
        return replace(reply, milliseconds=None if was_asked_again else took, was_asked_again=was_asked_again)


def _model_error(error: ClientError) -> str:
    status = error.response.get("OriginalStatusCode", "no status")
    message = error.response.get("OriginalMessage") or error.response["Error"].get("Message", "")
    return f"the model answered {status}, 2xx is allowed: {shown(message)}"
