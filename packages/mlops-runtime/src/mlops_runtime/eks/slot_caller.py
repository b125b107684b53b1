"""Calls one slot of a service directly, through a listener that only forwards to this slot, even without traffic weight."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.exceptions import BotoCoreError, ConnectionClosedError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from mlops_runtime.contracts.serving import GoldenRequest
from mlops_runtime.rollout.golden_answers import GoldenCallError, Reply, read_answer, refusal

# longer than the load balancer's timeout, after which it returns 504
_SECONDS = 70
# returned by the load balancer if a target closed the connection or no target is healthy
_PLATFORM = (502, 503)
_ATTEMPTS, _PAUSE_SECONDS = 4, 1.0

Post = Callable[[str, bytes, Mapping[str, str]], AWSResponse]


class HttpSession:
    """Sends POST requests inside the network over persistent connections.

    The certificate is not verified, since it is for the name that callers use and may have a private authority: both ends are in
    one VPC, which authenticates each packet. Load balancers themselves do not verify their targets' certificates either.

    See: https://kevin.burke.dev/kevin/aws-alb-validation-tls-reply/ (an engineer of AWS: no packet can be spoofed there)
    """

    def __init__(self) -> None:
        self._sessions: dict[str, URLLib3Session] = {}

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> AWSResponse:
        """Return the response, with any status.

        Raises:
            BotoCoreError: Without a response.
        """
        if url not in self._sessions:
            self._sessions[url] = URLLib3Session(verify=False, proxies=get_environ_proxies(url), timeout=_SECONDS)
        request = AWSRequest(method="POST", url=url, data=body, headers=dict(headers))
        return self._sessions[url].send(request.prepare())


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotCaller:
    """Sends golden requests to slots."""

    urls: Mapping[str, str]  # URL of each slot's listener
    post: Post = field(default_factory=HttpSession)  # sends a request. Default: over the network
    timer: Callable[[], float] = time.perf_counter  # monotonic clock, in seconds. Default: `time.perf_counter`
    pause: Callable[[float], None] = time.sleep  # called with the seconds to wait. Default: `time.sleep`

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "SlotCaller | None":
        """Return the caller for a function on EKS, or ``None`` for SageMaker.

        Args:
            environment: With ``SLOT_URLS``, a JSON object.
        """
        urls = environment.get("SLOT_URLS")
        return None if urls is None else cls(urls=json.loads(urls))

    def __call__(self, slot: str, request: GoldenRequest, inference_id: str) -> Reply:
        """Return a slot's response; a persistent error of the load balancer counts as the slot's.

        Raises:
            GoldenCallError: If the load balancer does not respond.
        """
        headers = {"Content-Type": request.content_type, "X-Amzn-SageMaker-Inference-Id": inference_id}
        problem = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                self.pause(_PAUSE_SECONDS)
            started = self.timer()
            try:
                answer = self.post(f"{self.urls[slot]}/invocations", request.body.encode(), headers)
            except ConnectionClosedError as error:
                problem = str(error)
                continue
            except BotoCoreError as error:
                raise GoldenCallError(f"slot {slot!r} could not be called: {error}") from error
            took = 1000 * (self.timer() - started)
            if answer.status_code not in _PLATFORM or attempt == _ATTEMPTS - 1:
                return replace(
                    _reply(answer, request),
                    milliseconds=None if attempt or not 200 <= answer.status_code < 300 else took,
                    was_retried=attempt > 0,
                )
        raise GoldenCallError(f"slot {slot!r} could not be called: {problem}")


def _reply(answer: AWSResponse, request: GoldenRequest) -> Reply:
    if 200 <= answer.status_code < 300:
        return read_answer(answer.content, answer.headers.get("Content-Type", ""), request.columns)
    return Reply(problem=refusal(answer.status_code, answer.content[:2000].decode(errors="replace")))
