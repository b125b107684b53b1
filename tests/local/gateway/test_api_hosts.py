"""REST APIs at AWS's host names, as requested through the proxy: with the name in the Host header."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.local.gateway.conftest import Api, Front, Seen, send
from tests.local.gateway.test_execution import OK

from mlops_local.gateway.api_hosts import api_of

ANSWER: dict[str, dict[str, Any]] = {
    "200": {"responseTemplates": {"application/json": '{"stage": "$context.stage", "path": "$context.path"}'}}
}
MOCK: dict[str, Any] = {"type": "MOCK", "requestTemplates": {"application/json": '{"statusCode": 200}'}}
ALL_VIEWER_EXCEPT_HOST, ALL_VIEWER = "b689b0a8-53d0-40ab-baf2-68738e2966ac", "216adef6-5c7f-47e4-b989-5492eafa07d3"
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"


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


@pytest.mark.parametrize(("policy", "status"), [(ALL_VIEWER_EXCEPT_HOST, 200), (ALL_VIEWER, 403)])
def test_a_viewer_reaches_the_api(front: Front, make_api: Callable[..., Api], policy: str, status: int) -> None:
    """With method, path, query and body, but without the viewer's Host, which the API does not know."""
    api = make_api()
    answer = '{"q": "$input.params(\'q\')", "id": "$input.params(\'id\')"}'
    api.method("/api/{id}", {"200": {"responseTemplates": {"application/json": answer}}}, **OK)
    api.deploy()
    origin: dict[str, Any] = {
        "Id": "api", "DomainName": f"{api.id}.execute-api.us-east-1.amazonaws.com", "OriginPath": "/live",
        "CustomOriginConfig": {"HTTPPort": 80, "HTTPSPort": 443, "OriginProtocolPolicy": "https-only"},
    }  # fmt: skip
    behaviour = {
        "TargetOriginId": "api", "ViewerProtocolPolicy": "allow-all", "CachePolicyId": CACHING_DISABLED,
        "OriginRequestPolicyId": policy,
        "AllowedMethods": {
            "Quantity": 7, "Items": ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"],
            "CachedMethods": {"Quantity": 2, "Items": ["GET", "HEAD"]},
        },
    }  # fmt: skip
    config = {
        "CallerReference": f"{api.id}{status}", "Comment": "", "Enabled": True, "DefaultCacheBehavior": behaviour,
        "Origins": {"Quantity": 1, "Items": [origin]},
    }  # fmt: skip
    domain = front.cloud.client("cloudfront").create_distribution(DistributionConfig=config)["Distribution"][
        "DomainName"
    ]
    host = domain.replace(".net", f".127.0.0.1:{front.cloud.port}")
    seen: Seen = send(
        f"{front.cloud.endpoint_url}/api/7?q=1", "POST", b"{}",
        {"host": host, "content-type": "application/json", "accept": "application/json"},
    )  # fmt: skip
    assert seen.status == status
    if status == 200:
        assert seen.json == {"q": "1", "id": "7"}
