"""An API invokes a function only if the function's own policy allows it."""

import io
import zipfile
from collections.abc import Callable

from tests.local.gateway.conftest import Api, Front

URI = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{}/invocations"
CODE = "def handler(event, context):\n    return {'statusCode': 200, 'body': event['path']}\n"


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
