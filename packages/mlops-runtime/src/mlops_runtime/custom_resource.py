"""The answer that CloudFormation waits for at the end of a custom resource's request.

See: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
"""

import json
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

MAX_REASON = 2000  # of the 4096 bytes that the whole answer may have
TIMEOUT = 20  # seconds
_LOOPBACK = ("127.0.0.1", "localhost")


def is_made_up(event: Mapping[str, Any]) -> bool:
    """Return whether CloudFormation made up the physical id of a request: no answer of a function gave it.

    When another resource of a creation fails, CloudFormation cancels this one's, and asks for its deletion while the function still
    works on the creation: https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/1814. A made-up id has the
    logical id in it, which an id of ours never has.

    Args:
        event: CloudFormation's request.

    Example:
        >>> event = {"LogicalResourceId": "SpecA1", "PhysicalResourceId": "stack-SpecA1-0K2J4H6G8F1D"}
        >>> is_made_up(event), is_made_up(event | {"PhysicalResourceId": "demand-forecast"})
        (True, False)
    """
    return str(event["LogicalResourceId"]) in str(event.get("PhysicalResourceId", ""))


def answer(
    event: Mapping[str, Any], *, physical_id: str, data: Mapping[str, str] | None = None, failure: str | None = None
) -> None:
    """Send SUCCESS, or FAILED with the reason.

    Args:
        event: CloudFormation's request.
        physical_id: The resource's physical id; a changed one makes CloudFormation delete the former.
        data: Attributes of the resource. Default: none.
        failure: Why it failed. Default: it did not.

    Raises:
        ValueError: If the request's ``ResponseURL`` is neither HTTPS nor on this machine.
    """
    url = urlsplit(event["ResponseURL"])
    if url.scheme != "https" and not (url.scheme == "http" and url.hostname in _LOOPBACK):
        raise ValueError(f"ResponseURL must be HTTPS, got {url.scheme}://{url.hostname}")
    document = {
        "Status": "SUCCESS" if failure is None else "FAILED",
        "Reason": "" if failure is None else failure[:MAX_REASON],
        "PhysicalResourceId": physical_id,
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "Data": {} if data is None else dict(data),
    }
    # the presigned URL is signed for an empty content type
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        event["ResponseURL"], data=json.dumps(document).encode(), method="PUT", headers={"Content-Type": ""}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT):  # noqa: S310 - the scheme is checked above
        pass
