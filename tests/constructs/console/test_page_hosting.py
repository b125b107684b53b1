"""Pages behind CloudFront: access to the bucket, caching, headers."""

import json
from typing import Any

from mlops_runtime.console.page_files import HEADERS, content_policy

# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-cache-policies.html and -origin-request-policies
OPTIMIZED, DISABLED = "658327ea-f89d-4fab-a63d-7e88639e58f6", "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ALL_VIEWER_EXCEPT_HOST = "b689b0a8-53d0-40ab-baf2-68738e2966ac"


def distribution(shown: Any) -> dict[str, Any]:
    """Return the distribution's configuration."""
    return dict(shown.resource("AWS::CloudFront::Distribution")["DistributionConfig"])


def test_browsers_keep_what_has_its_hash_in_its_name(shown: Any) -> None:
    """Browsers revalidate the index, the configuration and API responses."""
    config = distribution(shown)
    behaviours = {each["PathPattern"]: each for each in config["CacheBehaviors"]}

    assert config["DefaultRootObject"] == "index.html"
    assert config["DefaultCacheBehavior"]["CachePolicyId"] == DISABLED
    assert {path: each["CachePolicyId"] for path, each in behaviours.items()} == {
        "/static/*": OPTIMIZED,
        "/api/*": DISABLED,
    }
    assert behaviours["/api/*"]["OriginRequestPolicyId"] == ALL_VIEWER_EXCEPT_HOST
    assert set(behaviours["/api/*"]["AllowedMethods"]) >= {"GET", "POST"}
    every = [config["DefaultCacheBehavior"], *behaviours.values()]
    assert {each["ViewerProtocolPolicy"] for each in every} == {"redirect-to-https"}


def test_headers_are_those_of_the_local_console(shown: Any) -> None:
    """Adds the sign-in origin, and HSTS for two years."""
    found = shown.resource("AWS::CloudFront::ResponseHeadersPolicy")["ResponseHeadersPolicyConfig"]
    security = found["SecurityHeadersConfig"]
    policy = "".join(
        part if isinstance(part, str) else "*"
        for part in security["ContentSecurityPolicy"]["ContentSecurityPolicy"]["Fn::Join"][1]
    )
    sent = {each["Header"]: each["Value"] for each in found["CustomHeadersConfig"]["Items"]} | {
        "Content-Security-Policy": policy,
        "Referrer-Policy": security["ReferrerPolicy"]["ReferrerPolicy"],
        "X-Content-Type-Options": "nosniff" if security["ContentTypeOptions"]["Override"] else "",
    }

    assert sent == {
        **HEADERS,
        "Content-Security-Policy": content_policy(connects_to="https://*.auth.*.amazoncognito.com"),
    }
    assert security["StrictTransportSecurity"]["AccessControlMaxAgeSec"] == 2 * 365 * 24 * 3600
    every = [distribution(shown)["DefaultCacheBehavior"], *distribution(shown)["CacheBehaviors"]]
    assert len({json.dumps(each["ResponseHeadersPolicyId"]) for each in every}) == 1


def test_the_distribution_alone_reads_the_bucket(shown: Any) -> None:
    """The bucket is encrypted, requires TLS and is not public."""
    bucket = shown.resource("AWS::S3::Bucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert "BucketEncryption" in bucket
    statements = shown.resource("AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"]
    (allowed,) = (each for each in statements if each["Effect"] == "Allow")
    assert (allowed["Action"], allowed["Principal"]) == ("s3:GetObject", {"Service": "cloudfront.amazonaws.com"})
    assert "distribution/" in json.dumps(allowed["Condition"]["StringEquals"]["AWS:SourceArn"])
    assert any(each["Condition"].get("Bool") == {"aws:SecureTransport": "false"} for each in statements)


def test_pages_are_written_by_a_function_that_may_nothing_else(shown: Any) -> None:
    """The pages' configuration names the sign-in; changed files or configuration publish again."""
    resource = shown.resource("Custom::MLOpsConsolePages")
    config = json.loads("".join(part if isinstance(part, str) else "*" for part in resource["Config"]["Fn::Join"][1]))

    assert config == {
        "signIn": {
            "kind": "cognito",
            "domain": "https://*.auth.*.amazoncognito.com",
            "clientId": "*",
            "scopes": ["openid", "console/use"],
        },
        "api": "/api",
    }
    assert len(resource["Files"]) == 64
    (policy,) = (
        each
        for name, each in shown.resources("AWS::IAM::ManagedPolicy").items()
        if name.startswith("ConsolePublicationRole")
    )
    (writes,) = (each for each in policy["PolicyDocument"]["Statement"] if "s3" in json.dumps(each["Action"]))
    assert writes["Action"] == "s3:PutObject"
