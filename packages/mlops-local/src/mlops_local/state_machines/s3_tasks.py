"""Requests and responses of `aws-sdk:s3:*` tasks, derived from botocore's model of S3.

MiniStack supports eleven operations, drops every parameter that it does not list (`ChecksumAlgorithm`,
`ExpectedSourceBucketOwner`), treats redirects as success, and returns values as strings of the XML.

An error has the name of the exception class of the AWS SDK for Java: its own if S3's model has it, else `S3.S3Exception`.
"""

import functools
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import botocore.parsers
import botocore.serialize
import botocore.session
from botocore.awsrequest import HeadersDict
from botocore.model import OperationModel, ServiceModel, StructureShape
from ministack import app
from ministack.core.responses import get_region
from ministack.services import stepfunctions as sfn

Record = dict[str, Any]
_NOTHING = StructureShape("Nothing", {"type": "structure", "members": {}})


def install() -> None:
    """Replace MiniStack's S3 tasks."""
    dispatch = sfn._dispatch_aws_sdk_rest_xml

    def dispatching(service_info: Any, service_name: str, action: str, input_data: Any) -> Any:
        if service_name != "s3":
            return dispatch(service_info, service_name, action, input_data)
        return answer(action[:1].upper() + action[1:], input_data or {})

    sfn._dispatch_aws_sdk_rest_xml = dispatching


def answer(operation: str, arguments: Mapping[str, Any]) -> Record:
    """Call an operation of S3, such as `CopyObject`, as the running task, and return the task's result.

    Raises:
        stepfunctions._ExecutionError: If the operation or an argument is not supported, or S3 returns an error.
    """
    model = _operation(operation)
    request = botocore.serialize.create_serializer("rest-xml").serialize_to_request(_members(model, arguments), model)
    address = urlsplit(request["url_path"])
    query = {**dict(parse_qsl(address.query, keep_blank_values=True)), **request["query_string"]}
    region = get_region()
    headers = {
        "host": f"s3.{region}.amazonaws.com",
        "authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/{region}/s3/aws4_request",
        **{name.lower(): str(value) for name, value in request["headers"].items()},
    }
    status, found, body = app.call_service_handler_sync(
        app.SERVICE_HANDLERS["s3"], request["method"], unquote(address.path), headers, request["body"] or b"", query
    )
    body = body.encode() if isinstance(body, str) else (body or b"")
    # claim: a-redirected-task-fails
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        raise sfn._ExecutionError(*_failure(model.service_model, status, found, body))
    # claim: s3-tasks-answer-as-the-sdk
    if model.output_shape is None:
        return {}
    parsed = botocore.parsers.create_parser("rest-xml").parse(
        {"status_code": status, "headers": HeadersDict(found), "body": body}, model.output_shape
    )
    del parsed["ResponseMetadata"]
    return dict(_plain(model.output_shape, parsed))


@functools.cache
def _model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("s3")


def _operation(name: str) -> OperationModel:
    if name not in _model().operation_names:
        raise sfn._ExecutionError("States.Runtime", f"the embedded cloud does not support operation {name} of S3")
    model = _model().operation_model(name)
    if model.has_streaming_input or model.has_streaming_output or model.has_event_stream_output:
        raise sfn._ExecutionError("States.Runtime", f"{name} streams, which tasks of the embedded cloud do not support")
    return model


def _members(model: OperationModel, arguments: Mapping[str, Any]) -> Record:
    """Return the arguments by S3's names; the AWS SDK for Java has `SsekmsKeyId` for `SSEKMSKeyId`."""
    known = {name.lower(): name for name in (model.input_shape.members if model.input_shape else {})}
    unknown = sorted(name for name in arguments if name.lower() not in known)
    if unknown:
        raise sfn._ExecutionError(
            "States.Runtime", f"the embedded cloud does not support field {', '.join(unknown)} of {model.name}"
        )
    return {known[name.lower()]: value for name, value in arguments.items() if value is not None}


def _failure(model: ServiceModel, status: int, headers: Mapping[str, str], body: bytes) -> tuple[str, str]:
    """Return name and cause of an error in the format of the SDK for Java."""
    parser = botocore.parsers.create_parser("rest-xml")
    error = parser.parse({"status_code": status, "headers": HeadersDict(headers), "body": body}, _NOTHING)["Error"]
    named = {shape.metadata.get("error", {}).get("code", shape.name) for shape in model.error_shapes}
    kind = f"{error['Code']}Exception" if error.get("Code") in named else "S3Exception"
    identifier = HeadersDict(headers).get("x-amz-request-id", "")
    words = error.get("Message") or HTTPStatus(status).phrase
    return f"S3.{kind}", f"{words} (Service: S3, Status Code: {status}, Request ID: {identifier})"


def _java_name(name: str) -> str:
    """Return a member's name in Step Functions' format: the SDK for Java lowers an acronym at the beginning, no other.

    Example:
        >>> [_java_name(name) for name in ("SSEKMSKeyId", "ETag", "ChecksumSHA256", "ACL")]
        ['SsekmsKeyId', 'ETag', 'ChecksumSHA256', 'Acl']
    """
    capitals = next((at for at, letter in enumerate(name) if not letter.isupper()), len(name))
    kept = capitals - 1 if capitals < len(name) and name[capitals].islower() else capitals
    return name[:1] + name[1 : max(kept, 1)].lower() + name[max(kept, 1) :]


def _plain(shape: Any, value: Any) -> Any:
    if shape.type_name == "structure":
        return {_java_name(name): _plain(shape.members[name], part) for name, part in value.items()}
    if shape.type_name == "list":
        return [_plain(shape.member, part) for part in value]
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
