"""Asks one slot of a service by the listener that forwards to it alone, also without a share of the traffic."""

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

# a load balancer answers 504 after 60 seconds, which leaves the verdict to it
_SECONDS = 70
# of the load balancer itself, where a target closed the connection or none is healthy
_PLATFORM = (502, 503)
_ATTEMPTS, _PAUSE_SECONDS = 4, 1.0

Post = Callable[[str, bytes, Mapping[str, str]], AWSResponse]


class HttpSession:
    """Posts to addresses inside the network; connections are kept, as those of an SDK are.

    A certificate is for the name that callers use, and may be of a private authority, so it is not checked: both ends are in one
    VPC, which authenticates each packet. So load balancers themselves call their targets.

    See: https://kevin.burke.dev/kevin/aws-alb-validation-tls-reply/ (an engineer of AWS: no packet can be spoofed there)
    """

    def __init__(self) -> None:
        self._sessions: dict[str, URLLib3Session] = {}

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> AWSResponse:
        """Return the answer of any status.

        Raises:
            BotoCoreError: If no answer comes.
        """
        if url not in self._sessions:
            self._sessions[url] = URLLib3Session(verify=False, proxies=get_environ_proxies(url), timeout=_SECONDS)
        request = AWSRequest(method="POST", url=url, data=body, headers=dict(headers))
        return self._sessions[url].send(request.prepare())


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotCaller:
    """Sends golden requests to slots.

    Args:
        urls: Address of each slot's listener.
        post: Sends a body. Default: over the network.
        timer: Gives seconds, from any start, monotonically. Default: the process's own.
        pause: Waits for so many seconds. Default: it does.
    """

    urls: Mapping[str, str]
    post: Post = field(default_factory=HttpSession)
    timer: Callable[[], float] = time.perf_counter
    pause: Callable[[float], None] = time.sleep

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "SlotCaller | None":
        """Return the caller of a function for EKS, or None for one for SageMaker.

        Args:
            environment: With ``SLOT_URLS``, a JSON object.
        """
        urls = environment.get("SLOT_URLS")
        return None if urls is None else cls(urls=json.loads(urls))

    def __call__(self, slot: str, request: GoldenRequest, inference_id: str) -> Reply:
        """Return what a slot answers; an error of the load balancer that stays counts as the slot's.

        Raises:
            GoldenCallError: If the load balancer does not answer.
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
                raise GoldenCallError(f"slot {slot!r} could not be asked: {error}") from error
            took = 1000 * (self.timer() - started)
            if answer.status_code not in _PLATFORM or attempt == _ATTEMPTS - 1:
                return replace(
                    _reply(answer, request),
                    milliseconds=None if attempt or not 200 <= answer.status_code < 300 else took,
                    was_asked_again=attempt > 0,
                )
        raise GoldenCallError(f"slot {slot!r} could not be asked: {problem}")


def _reply(answer: AWSResponse, request: GoldenRequest) -> Reply:
    if 200 <= answer.status_code < 300:
        return read_answer(answer.content, answer.headers.get("Content-Type", ""), request.columns)
    return Reply(problem=refusal(answer.status_code, answer.content[:2000].decode(errors="replace")))
