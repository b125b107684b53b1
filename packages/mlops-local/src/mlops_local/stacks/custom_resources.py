"""Custom resources: ``ServiceTimeout``, reachability of the response bucket, and functions that never respond.

A function responds with a PUT to a presigned URL in CloudFormation's bucket, so a function in a VPC needs access to S3. AWS would
wait for a lost response until ``ServiceTimeout``, an hour by default; here the failure is reported at once:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from contextvars import Context, copy_context
from typing import Any

from ministack.services import lambda_svc
from ministack.services.cloudformation import custom_resource

from mlops_local import clock
from mlops_local.networks import reach
from mlops_local.saved_state import kept_stores

_log = logging.getLogger("mlops_local.stacks.custom_resources")
_ADDRESS = "/_ministack/cfn-response/"
# seconds; https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudformation-customresource.html
LONGEST = 3600

# creations in progress by stack and logical id: "" while the function works, then the physical id of its FAILED response
_creations: dict[tuple[str, str], str] = kept_stores.leave(
    __name__, "_creations", {}, why="operations of stacks under way"
)
# token of a response -> its function, and the context with account and Region of the function's network
_answering: dict[str, tuple[reach.Member, Context]] = kept_stores.leave(
    __name__, "_answering", {}, why="operations of stacks under way"
)


class Answer(threading.Event):
    """A pending response: its timeout counts real seconds while the function works, embedded seconds afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until ``timeout`` seconds, by default an hour, after the request; return whether the response arrived."""
        # claim: service-timeout-ends-the-wait
        left = (LONGEST if timeout is None else timeout) - (time.monotonic() - self._began)
        return left > 0 and (self.is_set() or not clock.wait(left, stop=self))


def install() -> None:
    """Validate and count ``ServiceTimeout``, and fail responses that cannot arrive."""
    _check_timeouts()
    _count_timeouts()
    _answer_through_network()
    _answer_for_the_silent()


def check_timeout(properties: Mapping[str, Any]) -> int:
    """Return a custom resource's ``ServiceTimeout`` in seconds; an hour by default.

    Raises:
        ValueError: If it is not a whole number from 1 to 3600.
    """
    # claim: service-timeout-is-an-hour-at-most
    given = properties.get("ServiceTimeout", LONGEST)
    if not str(given).isdecimal() or not 1 <= int(given) <= LONGEST:
        raise ValueError(f"ServiceTimeout must be an integer from 1 to {LONGEST}, got {given!r}")
    return int(given)


def _check_timeouts() -> None:
    invoke = custom_resource.invoke_custom_resource

    def invoke_checked(
        request_type: str, logical_id: str, props: Any, stack_name: str, stack_id: str, *rest: Any, **named: Any
    ) -> Any:
        if request_type != "Delete":
            check_timeout(props)
        if request_type == "Create":
            _creations[stack_id, logical_id] = ""
        made = invoke(request_type, logical_id, props, stack_name, stack_id, *rest, **named)
        _creations.pop((stack_id, logical_id), None)
        return made

    custom_resource.invoke_custom_resource = invoke_checked


def failed_creation(stack_id: str, logical_id: str) -> str | None:
    """Return the physical id in the FAILED response of a creation.

    Returns:
        "" if its function was invoked and has not responded, ``None`` if it was never invoked.
    """
    return _creations.pop((stack_id, logical_id), None)


def _count_timeouts() -> None:
    register = custom_resource.register_token

    def register_on_clock(token: str) -> Answer:
        register(token)
        answer = custom_resource._pending[token]["event"] = Answer()
        return answer

    custom_resource.register_token = register_on_clock


def _answer_through_network() -> None:
    """Drop the response of a function without access to S3."""
    deliver = custom_resource.deliver_response

    def deliver_through_network(token: str, response: Any) -> bool:
        member, context = _answering.get(token, (None, None))
        found = None if member is None or context is None else context.run(reach.answers, member)
        if found is not None:
            _log.warning("a response to CloudFormation is lost: %s", found)
            return False
        resource = (str(response.get("StackId")), str(response.get("LogicalResourceId")))
        if response.get("Status") == "FAILED" and resource in _creations:
            _creations[resource] = str(response.get("PhysicalResourceId") or "")
        return bool(deliver(token, response))

    custom_resource.deliver_response = deliver_through_network


def _answer_for_the_silent() -> None:
    """Respond for a function that failed, or whose response was lost."""
    # claim: service-timeout-ends-the-wait
    run = lambda_svc._execute_function_with_config_scope

    def run_and_answer(function: Any, event: Any) -> Any:
        url = event.get("ResponseURL", "") if isinstance(event, dict) else ""
        if _ADDRESS not in url:
            return run(function, event)
        token = url.rpartition("/")[2]
        member = reach.member_of(function.get("config") or function)
        if member is not None:
            _answering[token] = member, copy_context()
        try:
            result = run(function, event)
            lost = None if member is None else reach.answers(member)
        finally:
            _answering.pop(token, None)
        waiting = custom_resource._pending.get(token)
        if waiting is not None and not waiting["event"].is_set():
            reason = _reason(result, lost, check_timeout(event.get("ResourceProperties", {})))
            if reason is not None:
                custom_resource.deliver_response(token, {"Status": "FAILED", "Reason": reason})
        return result

    lambda_svc._execute_function_with_config_scope = run_and_answer


def _reason(result: Mapping[str, Any], lost: str | None, timeout: int) -> str | None:
    """Return why no response will come; ``None`` if it still may."""
    body, broken = result.get("body"), None
    if result.get("error"):
        kind, message = (body.get("errorType"), body.get("errorMessage")) if isinstance(body, dict) else ("error", body)
        broken = f"the function failed before it responded: {kind}: {message}"
    unreached = None if lost is None else (
        f"the function cannot respond: {lost}; AWS would wait {timeout} s for it; make the function depend on the "
        "network resources that it needs"
    )  # fmt: skip
    return "; ".join(part for part in (unreached, broken) if part) or None
