"""Answer CloudFormation about a custom resource, without a framework.

See: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
"""

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

MAXIMUM_REASON = 1000  # the whole answer may have 4096 bytes
_TIMEOUT = 30.0


def answer(
    event: Mapping[str, Any], *, physical_id: str, error: Exception | None = None, data: Mapping[str, str] | None = None
) -> None:
    """Tell CloudFormation that a custom resource's request succeeded or failed.

    Args:
        event: CloudFormation's request.
        physical_id: Physical id of the resource; another id replaces it.
        error: Why it failed. Default: it succeeded.
        data: Attributes for ``Fn::GetAtt``. Default: none.
    """
    body = response(event, physical_id=physical_id, error=error, data=data)
    request = urllib.request.Request(  # noqa: S310 - the address comes from CloudFormation, and only http(s) is opened
        _address(event), data=body, method="PUT", headers={"Content-Type": "", "Content-Length": str(len(body))}
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT):  # noqa: S310 - as above
        pass


def response(
    event: Mapping[str, Any], *, physical_id: str, error: Exception | None = None, data: Mapping[str, str] | None = None
) -> bytes:
    """Return the body of the answer.

    Args:
        event: CloudFormation's request.
        physical_id: Physical id of the resource.
        error: Why it failed. Default: it succeeded.
        data: Attributes for ``Fn::GetAtt``. Default: none.
    """
    return json.dumps(
        {
            "Status": "SUCCESS" if error is None else "FAILED",
            "Reason": "" if error is None else f"{type(error).__name__}: {error}"[:MAXIMUM_REASON],
            "PhysicalResourceId": physical_id,
            "StackId": event["StackId"],
            "RequestId": event["RequestId"],
            "LogicalResourceId": event["LogicalResourceId"],
            "Data": {} if data is None else dict(data),
        }
    ).encode()


def _address(event: Mapping[str, Any]) -> str:
    url = str(event["ResponseURL"])
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"the response URL must be http(s), got {url!r}")
    return url
