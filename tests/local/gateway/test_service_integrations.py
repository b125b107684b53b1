"""A REST API with integrations of SageMaker's runtime and S3, using the integration's role."""

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.gateway.conftest import ENDPOINT, PREDICTIONS, Api, Front

from mlops_local.gateway.service_integrations import service_uri

VARIANT = "integration.response.header.x-amzn-invoked-production-variant"
OBJECTS = "arn:aws:apigateway:us-east-1:s3:path/{bucket}/{key}"
URI = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{}/invocations"
CODE = "def handler(event, context):\n    return {'statusCode': 200, 'body': event['path']}\n"


def predicting(front: Front, api: Api, role: str, path: str = "/predict", **integration: Any) -> None:
    """Make a method of an API with the tiny model as backend and unchanged statuses."""
    responses = {
        "200": {"responseParameters": {"method.response.header.X-Variant": VARIANT}},
        "403": {"selectionPattern": "403"},
        "502": {"selectionPattern": "424|5..", "responseTemplates": {"application/json": '{"error": "model"}'}},
    }  # fmt: skip
    api.method(path, responses, type="AWS", uri=PREDICTIONS, credentials=role, **integration)


def test_a_model_answers_the_caller_byte_by_byte(front: Front, make_api: Callable[..., Api]) -> None:
    """The body is that of InvokeEndpoint, with the mapped header and the request id."""
    api = make_api()
    predicting(
        front,
        api,
        front.may_predict(),
        requestParameters={"integration.request.header.X-Amzn-SageMaker-Inference-Id": "context.requestId"},
    )
    seen = api.deploy().call("/predict", b'{"a": 1}', x_amzn_sagemaker_inference_id="theirs")
    assert (seen.status, seen.headers["x-variant"]) == (200, "AllTraffic")
    identifier = seen.headers["x-amzn-requestid"]
    direct = front.cloud.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=ENDPOINT, ContentType="application/json", Body=b'{"a": 1}', InferenceId=identifier
    )
    assert seen.body == direct["Body"].read()
    assert seen.json["inference_id"] == identifier


def test_a_role_without_the_permission_is_refused_by_the_service(front: Front, make_api: Callable[..., Api]) -> None:
    """The service's 403 passes the integration responses like any other."""
    api = make_api()
    predicting(front, api, front.role())
    seen = api.deploy().call("/predict")
    assert seen.status == 403
    assert "sagemaker:InvokeEndpoint" in seen.body.decode()


def test_without_patterns_an_error_of_the_service_answers_200(front: Front, make_api: Callable[..., Api]) -> None:
    """The default response matches every status."""
    api = make_api()
    api.method("/predict", {"200": {}}, type="AWS", uri=PREDICTIONS, credentials=front.may_predict())
    seen = api.deploy().call("/predict", b'{"status": 500}')
    assert seen.status == 200
    assert seen.json["OriginalStatusCode"] == 500


@pytest.mark.parametrize(
    "trust",
    [
        {"Principal": {"Service": "lambda.amazonaws.com"}},
        {"Condition": {"StringEquals": {"aws:SourceAccount": "000000000000"}}},
    ],
)
def test_a_role_that_does_not_trust_the_gateway_is_not_taken(
    front: Front, make_api: Callable[..., Api], trust: dict[str, Any]
) -> None:
    """Nor one whose trust requires condition keys that API Gateway is not known to send; the reason is only in the log."""
    api = make_api()
    allowed = {"Effect": "Allow", "Action": "sagemaker:InvokeEndpoint", "Resource": "*"}
    predicting(front, api, front.role(allowed, trust=trust))
    seen = api.deploy().call("/predict")
    assert (seen.status, seen.body) == (500, b'{"message": "Internal server error"}')


def test_a_signed_caller_lends_the_gateway_nothing(front: Front, make_api: Callable[..., Api]) -> None:
    """With a root caller the integration's role still lacks the permission."""
    api = make_api()
    api.method(
        "/predict", {"200": {}, "403": {"selectionPattern": "403"}}, method={"authorizationType": "AWS_IAM"},
        type="AWS", uri=PREDICTIONS, credentials=front.role(),
    )  # fmt: skip
    assert api.deploy().call("/predict", sign="execute-api").status == 403


def test_a_slow_model_answers_504(front: Front, make_api: Callable[..., Api]) -> None:
    """After the integration's timeout, with the gateway's own message."""
    api = make_api()
    predicting(front, api, front.may_predict(), timeoutInMillis=200)
    seen = api.deploy().call("/predict", b'{"sleep": 1}')
    assert (seen.status, seen.json["message"]) == (504, "Endpoint request timed out")


def test_objects_are_written_and_read_under_the_name_that_the_gateway_gives(
    front: Front, make_api: Callable[..., Api]
) -> None:
    """A job's request is stored under its id; 404 of its status is returned as 202."""
    front.cloud.client("s3").create_bucket(Bucket="jobs")
    arn = "arn:aws:s3:::jobs"
    role = front.role(
        {"Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject"], "Resource": f"{arn}/*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": arn},
    )
    api = make_api()
    common = {"type": "AWS", "credentials": role, "uri": OBJECTS}
    api.method(
        "/jobs",
        {"202": {"responseTemplates": {"application/json": '{"id": "$context.requestId"}'}}},
        **common,
        integrationHttpMethod="PUT",
        requestParameters={
            "integration.request.path.bucket": "'jobs'",
            "integration.request.path.key": "context.requestId",
        },
    )
    api.method(
        "/jobs/{id}",
        {
            "200": {},
            "202": {"selectionPattern": "404", "responseTemplates": {"application/json": '{"state": "waiting"}'}},
        },
        verb="GET",
        **common,
        integrationHttpMethod="GET",
        requestParameters={
            "integration.request.path.bucket": "'jobs'",
            "integration.request.path.key": "method.request.path.id",
        },
    )
    api.deploy()
    requested = api.call("/jobs", b'{"rows": [1]}')
    assert (requested.status, requested.json["id"]) == (202, requested.headers["x-amzn-requestid"])
    assert api.call(f"/jobs/{requested.json['id']}", b"", verb="GET").body == b'{"rows": [1]}'
    waiting = api.call("/jobs/absent", b"", verb="GET")
    assert (waiting.status, waiting.json) == (202, {"state": "waiting"})


def test_what_is_text_is_no_file(front: Front, make_api: Callable[..., Api]) -> None:
    """Without a binary media type the gateway treats bytes as text: invalid UTF-8 is lost."""
    front.cloud.client("s3").create_bucket(Bucket="bytes")
    role = front.role({"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::bytes/*"})
    stored = {}
    for name, options in (("text", {}), ("binary", {"binaryMediaTypes": ["application/octet-stream"]})):
        api = make_api(**options)
        api.method(
            "/put", {"200": {}}, type="AWS", credentials=role, integrationHttpMethod="PUT",
            uri=f"arn:aws:apigateway:us-east-1:s3:path/bytes/{name}",
        )  # fmt: skip
        assert api.deploy().call("/put", b"\xff\x00", content_type="application/octet-stream").status == 200
        stored[name] = front.cloud.client("s3").get_object(Bucket="bytes", Key=name)["Body"].read()
    assert stored == {"text": "\ufffd\x00".encode(), "binary": b"\xff\x00"}


def test_the_uri_of_a_service_is_read() -> None:
    """Other services and functions are left to MiniStack."""
    read = service_uri("arn:aws:apigateway:eu-west-1:s3:path/jobs/requests?x=1")
    assert read == ("eu-west-1", "s3", "/jobs/requests?x=1")
    assert service_uri("arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn/invocations") is None


@pytest.mark.parametrize(
    ("integration", "words"),
    [
        ({"uri": PREDICTIONS}, "Role ARN must be specified"),
        (
            {"uri": "arn:aws:apigateway:us-east-1:kinesis:action/PutRecord", "credentials": "arn:aws:iam::0:role/r"},
            "kinesis",
        ),
    ],
)
def test_an_integration_that_aws_or_we_refuse_is_not_put(
    make_api: Callable[..., Api], integration: dict[str, Any], words: str
) -> None:
    """By name, at PutIntegration."""
    with pytest.raises(ClientError, match=words):
        make_api().method("/x", {}, type="AWS", **integration)


def test_a_wrong_endpoint_names_itself_to_the_caller(front: Front, make_api: Callable[..., Api]) -> None:
    """SageMaker's message passes unless a template replaces it, so a public API needs one."""
    api = make_api()
    role = front.role({"Effect": "Allow", "Action": "sagemaker:InvokeEndpoint", "Resource": "*"})
    api.method(
        "/gone", {"200": {}}, type="AWS", credentials=role, uri=PREDICTIONS.replace(ENDPOINT, "gone"),
    )  # fmt: skip
    assert "of account 000000000000 not found" in json.dumps(api.deploy().call("/gone").json)


def function(front: Front) -> str:
    """Make a function that returns its path; return its ARN."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("index.py", CODE)
    made = front.cloud.client("lambda").create_function(
        FunctionName="asked",
        Runtime="python3.14",
        Role=front.role(trust={"Principal": {"Service": "lambda.amazonaws.com"}}),
        Handler="index.handler",
        Code={"ZipFile": packed.getvalue()},
    )
    return str(made["FunctionArn"])


def test_an_api_invokes_a_function_that_lets_it_in(front: Front, make_api: Callable[..., Api]) -> None:
    """By stage, verb and path; the reason of a denial is only in the log, as a configuration problem of the API."""
    client, api, arn = front.cloud.client("lambda"), make_api(), function(front)
    api.method("/ask/{id}", {}, type="AWS_PROXY", uri=URI.format(arn))
    api.deploy()
    try:
        without = api.call("/ask/7")
        found = {}
        for name, place in {
            "another": "other/live/POST/ask/*",
            "path": f"{api.id}/live/POST/tell/*",
            "own": f"{api.id}/*/POST/ask/*",
        }.items():
            client.add_permission(
                FunctionName="asked",
                StatementId=name,
                Action="lambda:InvokeFunction",
                Principal="apigateway.amazonaws.com",
                SourceArn=f"arn:aws:execute-api:us-east-1:000000000000:{place}",
            )
            found[name] = api.call("/ask/7").status
    finally:
        client.delete_function(FunctionName="asked")

    assert (without.status, without.json) == (500, {"message": "Internal server error"})
    assert found == {"another": 500, "path": 500, "own": 200}
