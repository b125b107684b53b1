"""A REST API behind a distribution."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.local.gateway.conftest import Api, Front, Seen, send
from tests.local.gateway.test_execution import OK

ALL_VIEWER_EXCEPT_HOST, ALL_VIEWER = "b689b0a8-53d0-40ab-baf2-68738e2966ac", "216adef6-5c7f-47e4-b989-5492eafa07d3"
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"


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
