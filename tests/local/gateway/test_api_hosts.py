"""REST APIs at AWS's host names, as requested through the proxy: with the name in the Host header."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.local.gateway.conftest import Api, Front, Seen, send

from mlops_local.gateway.api_hosts import api_of

ANSWER: dict[str, dict[str, Any]] = {
    "200": {"responseTemplates": {"application/json": '{"stage": "$context.stage", "path": "$context.path"}'}}
}
MOCK: dict[str, Any] = {"type": "MOCK", "requestTemplates": {"application/json": '{"statusCode": 200}'}}


def _named(front: Front, api: Api, *, region: str = "us-east-1", identifier: str = "", signed: bool = True) -> Seen:
    """Call ``/rows`` by the host name, with a root signature for that name."""
    host = f"{identifier or api.id}.execute-api.{region}.amazonaws.com"
    request = AWSRequest(
        "POST", f"https://{host}/live/rows", data=b"{}", headers={"host": host, "content-type": "application/json"}
    )
    keys = front.cloud.root_keys()
    if signed:
        root = Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"])
        SigV4Auth(root, "execute-api", region).add_auth(request)
    return send(f"{front.cloud.endpoint_url}/live/rows", "POST", b"{}", dict(request.headers))


def test_an_api_answers_at_its_name(front: Front, make_api: Callable[..., Api]) -> None:
    """Signed for the name, with the stage as the first path segment; unsigned callers are rejected by the API."""
    api = make_api()
    api.method("/rows", ANSWER, method={"authorizationType": "AWS_IAM"}, **MOCK)
    api.deploy()
    answer, unsigned = _named(front, api), _named(front, api, signed=False)

    assert (answer.status, answer.json) == (200, {"stage": "live", "path": "/live/rows"})
    assert unsigned.status == 403
    assert unsigned.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"


def test_other_names_reach_no_api(front: Front, make_api: Callable[..., Api]) -> None:
    """The name of another region, or of a missing API."""
    api = make_api()
    api.method("/rows", ANSWER, **MOCK)
    api.deploy()

    assert _named(front, api).status == 200
    assert _named(front, api, region="eu-west-1").status != 200
    assert _named(front, api, identifier="0a0a0a0a").status != 200


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("1a2b3c4d.execute-api.us-east-1.amazonaws.com:443", ("1a2b3c4d", "us-east-1")),
        ("1A2B3C4D.execute-api.cn-north-1.amazonaws.com.cn", ("1a2b3c4d", "cn-north-1")),
        ("1a2b3c4d.execute-api.us-east-1.evil.example", None),
        (".execute-api.us-east-1.amazonaws.com", None),
        ("execute-api.us-east-1.amazonaws.com", None),
    ],
)
def test_a_name_has_id_and_region(host: str, found: tuple[str, str] | None) -> None:
    """Only below AWS's domains."""
    assert api_of(host) == found
