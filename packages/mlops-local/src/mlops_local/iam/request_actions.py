"""IAM actions of requests for which MiniStack finds none: a call without a known action must not pass unchecked.

MiniStack derives a Lambda action from the last part of the path, so many operations get a wrong action or none, and it serves calls
without an action to every signed caller. Here Lambda's operations are derived from botocore's routes, and a signed call without a
known action gets an action that no policy allows.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ministack.core import iam_actions
from ministack.core.router import extract_access_key_id

from mlops_local import compat

compat.expect(
    "ministack.core.iam_actions",
    SERVICE_TO_IAM_NAMESPACE=dict,
    _BOTOCORE_SERVICE_MAP=dict,
    _match_rest_action="(service, method, path, query_params=None)",
    extract_iam_action="(service, method, path, headers, body, query_params)",
)
compat.expect("ministack.core.router", extract_access_key_id="(headers, query_params=None)")

UNKNOWN = "UnknownOperation"
# operations whose IAM action has another name
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html
_LAMBDA = {
    "Invoke": "InvokeFunction",
    "InvokeWithResponseStream": "InvokeFunction",
    "GetLayerVersionByArn": "GetLayerVersion",
}

Extract = Callable[..., str | None]


def install() -> None:
    """Replace MiniStack's mapping of requests to actions; idempotent."""
    extract = iam_actions.extract_iam_action
    if getattr(extract, "knows_all", False):
        return
    iam_actions._BOTOCORE_SERVICE_MAP["lambda"] = ["lambda"]

    def naming(  # noqa: PLR0917 - MiniStack's own signature
        service: str, method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> str | None:
        return action(extract, service, method, path, headers, body, query_params)

    naming.knows_all = True  # type: ignore[attr-defined]
    iam_actions.extract_iam_action = naming


# claim: every-call-has-an-action
def action(  # noqa: PLR0917 - MiniStack's own signature
    extract: Extract,
    service: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    query_params: Mapping[str, Any],
) -> str | None:
    """Return the IAM action of a request.

    Returns:
        The action; an action that no policy allows if a signed call has no known one; None if IAM does not apply.
    """
    if service == "lambda" and "x-amz-target" not in headers:
        operation = iam_actions._match_rest_action("lambda", method, path, query_params)
        if operation:
            return f"lambda:{_LAMBDA.get(operation, operation)}"
    if service == "s3" and "abac" in query_params:  # MiniStack would map it to CreateBucket
        return "s3:PutBucketAbac" if method == "PUT" else "s3:GetBucketAbac"
    found = extract(service, method, path, headers, body, query_params)
    namespace = iam_actions.SERVICE_TO_IAM_NAMESPACE.get(service)
    is_signed = bool(extract_access_key_id(dict(headers), dict(query_params)))
    if found is None and namespace and is_signed and method != "OPTIONS":
        return f"{namespace}:{UNKNOWN}"
    return found
