"""Golden requests: what a candidate must answer before it gets traffic, and calls that stand in for thin traffic.

``GoldenCaller`` reads the set, calls the endpoints and measures the time; what is judged, and in which order, is pure. Every call
carries an inference id by which monitors leave it out: its nonce is announced in the bucket of artifacts before the first call, so
that no caller can make up such an id.

See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.contracts import from_dict
from mlops_runtime.contracts.capture import announcement_key, synthetic_id
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


class GoldenCaller:
    """Sends golden requests.

    Args:
        s3: Client.
        runtime: Client, made with `RETRIES`.
        bucket: Where calls to an endpoint that is watched are announced.
        timer: Gives seconds, from any start, and never goes back. Default: the process's own.
        nonce: Gives a number of bytes that nobody can guess, in hexadecimal digits. Default: the operating system's.
    """

    def __init__(
        self,
        *,
        s3: "S3Client",
        runtime: "SageMakerRuntimeClient",
        bucket: str,
        timer: Callable[[], float] = time.perf_counter,
        nonce: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self._s3, self._runtime, self._bucket, self._timer, self._nonce = s3, runtime, bucket, timer, nonce
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
        at, execution = event.get("now"), str(event.get("execution", ""))
        if event["mode"] == "check":
            announce = partial(self._announce, event.get("live_endpoint"), now=at, execution=execution)
            return self.check(
                spec, endpoint=endpoint, live_endpoint=event.get("live_endpoint"), announce=announce, has_time=has_time
            )
        if event["mode"] == "traffic":
            calls, now = int(event["calls"]), str(event["now"])
            nonce = self._announce(endpoint, calls, now=now, execution=execution)
            return self.send(spec, endpoint=endpoint, calls=calls, now=now, nonce=nonce, has_time=has_time)
        raise ValueError(f"mode must be 'check' or 'traffic', got {event['mode']!r}")

    def check(
        self,
        spec: GoldenSpec,
        *,
        endpoint: str,
        live_endpoint: str | None,
        announce: Callable[[int], str],
        has_time: Callable[[], bool],
    ) -> dict[str, Any]:
        """Return the verdict on the endpoint's model: ``{"passed", "reason", "calls"}``."""
        try:
            requests = self._requests(spec)
        except GoldenSetError as error:
            return {"passed": False, "reason": cut(str(error), MAXIMUM_REASON), "calls": 0}
        # to the live model: one to warm up, one a round, and as many again where a request seems slow
        nonce = announce(1 + 2 * ROUNDS * len(requests))
        rehearsal = Rehearsal(
            ask=lambda asked, request: self._ask(asked, request, synthetic_id(rehearsal.calls, nonce)),
            spec=spec,
            endpoint=endpoint,
            live=live_endpoint,
            has_time=has_time,
        )
        reason = rehearsal.run(requests)
        passed = f"all {len(requests)} golden requests were answered rightly in {ROUNDS} rounds"
        return {"passed": not reason, "reason": reason or passed, "calls": rehearsal.calls}

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
