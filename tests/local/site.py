"""A page behind a distribution, and a user pool with sign-in pages."""

import json
from typing import Any

from mlops_local.cloud import Cloud

CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
BACK = "https://app.example.com/"
PAGE = (
    b"<!doctype html><title>site</title><p id=said></p><script>said.textContent = 'read at ' + location.host</script>"
)


def make_site(cloud: Cloud, name: str) -> str:
    """Deploy a page in a bucket that only a distribution reads, over HTTPS; return the distribution's name."""
    s3, cloudfront = cloud.client("s3"), cloud.client("cloudfront")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="index.html", Body=PAGE, ContentType="text/html")
    control = {
        "Name": name,
        "SigningProtocol": "sigv4",
        "SigningBehavior": "always",
        "OriginAccessControlOriginType": "s3",
    }
    access = cloudfront.create_origin_access_control(OriginAccessControlConfig=control)["OriginAccessControl"]["Id"]
    origin: dict[str, Any] = {
        "Id": "pages", "DomainName": f"{name}.s3.us-east-1.amazonaws.com", "OriginAccessControlId": access,
        "S3OriginConfig": {"OriginAccessIdentity": ""},
    }  # fmt: skip
    behaviour = {
        "TargetOriginId": "pages", "ViewerProtocolPolicy": "redirect-to-https", "CachePolicyId": CACHING_DISABLED
    }  # fmt: skip
    config = {
        "CallerReference": name, "Comment": "", "Enabled": True, "DefaultRootObject": "index.html",
        "DefaultCacheBehavior": behaviour, "Origins": {"Quantity": 1, "Items": [origin]},
    }  # fmt: skip
    made = cloudfront.create_distribution(DistributionConfig=config)["Distribution"]
    statement = {
        "Effect": "Allow", "Principal": {"Service": "cloudfront.amazonaws.com"}, "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{name}/*", "Condition": {"StringEquals": {"AWS:SourceArn": made["ARN"]}},
    }  # fmt: skip
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    return str(made["DomainName"])


def make_sign_in(cloud: Cloud, name: str) -> tuple[str, str]:
    """Make a user pool with sign-in pages and a client; return their domain and its id."""
    cognito = cloud.client("cognito-idp")
    pool = cognito.create_user_pool(PoolName=name)["UserPool"]["Id"]
    cognito.create_user_pool_domain(Domain=name, UserPoolId=pool)
    client = cognito.create_user_pool_client(
        UserPoolId=pool, ClientName=name, AllowedOAuthFlowsUserPoolClient=True, AllowedOAuthFlows=["code"],
        AllowedOAuthScopes=["openid"], CallbackURLs=[BACK], SupportedIdentityProviders=["COGNITO"],
    )["UserPoolClient"]["ClientId"]  # fmt: skip
    return f"{name}.auth.us-east-1.amazoncognito.com", client


def certificate(cloud: Cloud, *names: str, region: str = "us-east-1") -> str:
    """Request a certificate for names; return its ARN."""
    acm = cloud.at(region=region).client("acm")
    first, *others = names
    return str(acm.request_certificate(DomainName=first, SubjectAlternativeNames=others or [first])["CertificateArn"])


def give_name(cloud: Cloud, site: str, certified: str | None, *aliases: str) -> None:
    """Add custom names to a distribution."""
    cloudfront = cloud.client("cloudfront")
    (found,) = (
        each for each in cloudfront.list_distributions()["DistributionList"]["Items"] if each["DomainName"] == site
    )
    kept = cloudfront.get_distribution_config(Id=found["Id"])
    viewer = {"ACMCertificateArn": certified, "SSLSupportMethod": "sni-only"} if certified else {}
    config = kept["DistributionConfig"] | {"Aliases": {"Quantity": len(aliases), "Items": list(aliases)}}
    config["ViewerCertificate"] = viewer or {"CloudFrontDefaultCertificate": True}
    cloudfront.update_distribution(Id=found["Id"], IfMatch=kept["ETag"], DistributionConfig=config)
