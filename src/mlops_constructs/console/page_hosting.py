"""The console's pages behind CloudFront: a bucket that only the distribution can read, on one origin with the API (no CORS)."""

from collections.abc import Mapping
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_apigateway as gateway
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._functions import define_custom_resource, define_function
from mlops_constructs._roles import allow
from mlops_constructs._stack_values import stack_of, stack_values
from mlops_constructs._unit_resources import define_page_bucket
from mlops_constructs.compliance import acknowledge
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.console.page_files import FILES, HEADERS, content_policy, page_document

CONFIG_TYPE = "Custom::MLOpsConsolePages"
# API Gateway's timeout is 29 seconds
_PATIENCE = cdk.Duration.seconds(30)
_TWO_YEARS = cdk.Duration.days(730)
# headers with properties of their own in CloudFront
_OWN_FIELDS = ("Content-Security-Policy", "Referrer-Policy", "X-Content-Type-Options")
_ANYWHERE = (
    "people on call may be in any country, and their sign-in decides who may act; rejected: a list of countries, which "
    "locks out a person who travels"
)
_FIREWALL = (
    "the API behind it has a web ACL, and the pages are public files without secrets; rejected: a second web ACL, which "
    "CloudFront requires in us-east-1"
)
_LOGGED = (
    "the API's access log has each call with the person, and the pages are the same public files for all; "
    "rejected: logs of page loads, which need a bucket with ACLs"
)
_OWN_NAME = (
    "CloudFront's own certificate has TLS 1.0 as its minimum, which no current browser uses; `domain` and `certificate` set "
    "TLS 1.2; rejected: no console without a domain"
)
_PUBLICATION = (
    "the folder's name contains a hash of the files, which differs between releases; rejected: the bucket's ACL"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosting:
    """Bucket, distribution and origin of the pages.

    Args:
        bucket: Bucket of the files.
        distribution: Serves the files, and the API under ``/api/``.
        origin: Origin of both, without a trailing slash.
    """

    bucket: s3.Bucket
    distribution: cloudfront.Distribution
    origin: str


def define_hosting(
    scope: Construct,
    *,
    business_unit: IBusinessUnit,
    api: gateway.RestApi,
    sign_in_origin: str,
    domain: str | None,
    certificate: acm.ICertificate | None,
) -> Hosting:
    """Define bucket and distribution.

    Args:
        scope: Parent.
        sign_in_origin: Origin that the pages may call besides their own.
        domain: Domain name of the console. Default: the distribution's.
        certificate: Certificate for it, in us-east-1.
    """
    bucket = define_page_bucket(scope, "Files", business_unit=business_unit)
    # these names are unique in the account across Regions: CDK's would collide with those of the same stack in another Region
    name = f"{business_unit.name}-console-{stack_values(scope).region}"
    headers = _headers(scope, name, sign_in_origin)
    access = cloudfront.S3OriginAccessControl(scope, "Access", origin_access_control_name=name)
    files = origins.S3BucketOrigin.with_origin_access_control(bucket, origin_access_control=access)
    distribution = cloudfront.Distribution(
        scope,
        "Distribution",
        comment=f"MLOps console of {business_unit.name}",
        default_root_object="index.html",
        # caching is disabled: with a cache policy CloudFront would cache no-store responses for a second
        default_behavior=_behavior(files, headers, cloudfront.CachePolicy.CACHING_DISABLED),
        additional_behaviors={
            "/static/*": _behavior(files, headers, cloudfront.CachePolicy.CACHING_OPTIMIZED),
            "/api/*": _behavior(
                origins.RestApiOrigin(api, read_timeout=_PATIENCE),
                headers,
                cloudfront.CachePolicy.CACHING_DISABLED,
                methods=cloudfront.AllowedMethods.ALLOW_ALL,
                # API Gateway accepts only its own host name
                request_policy=cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
            ),
        },
        domain_names=None if domain is None else [domain],
        certificate=certificate,
        minimum_protocol_version=cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021,
        http_version=cloudfront.HttpVersion.HTTP2_AND_3,
    )
    acknowledge(distribution, "AwsSolutions-CFR1", _ANYWHERE)
    acknowledge(distribution, "AwsSolutions-CFR2", _FIREWALL)
    acknowledge(distribution, "AwsSolutions-CFR3", _LOGGED)
    if certificate is None:
        acknowledge(distribution, "AwsSolutions-CFR4", _OWN_NAME)
    host = distribution.distribution_domain_name if domain is None else domain
    return Hosting(bucket=bucket, distribution=distribution, origin=f"https://{host}")


def publish_pages(
    scope: Construct, hosting: Hosting, *, business_unit: IBusinessUnit, config: Mapping[str, object]
) -> None:
    """Copy the pages and their configuration to the bucket in each deployment that changes them.

    The unit's own function does it, which may only write to this bucket. CDK's ``BucketDeployment`` has an inline policy with
    wildcards on the bucket of all assets, runs the AWS CLI outside the unit's network, and deletes files.

    Args:
        scope: Parent.
        hosting: Hosting of the pages.
        config: Content of ``/config.json``; values may be tokens.
    """
    document = page_document()
    function = define_function(
        scope,
        "Publication",
        business_unit=business_unit,
        folder="console_pages",
        description="Puts the console's pages into their bucket",
        environment={"BUCKET": hosting.bucket.bucket_name},
        statements=[allow("s3:PutObject", hosting.bucket.arn_for_objects("*"))],
        timeout=cdk.Duration.minutes(2),
        files={FILES: document.text},
        wildcard_reason=_PUBLICATION,
    )
    resource = define_custom_resource(
        scope,
        "PublishedPages",
        function=function,
        resource_type=CONFIG_TYPE,
        properties={"Config": stack_of(scope).to_json_string(dict(config)), "Files": document.sha256},
    )
    if hosting.bucket.policy is not None:
        resource.node.add_dependency(hosting.bucket.policy)


def _behavior(
    origin: cloudfront.IOrigin,
    headers: cloudfront.ResponseHeadersPolicy,
    cache: cloudfront.ICachePolicy,
    *,
    methods: cloudfront.AllowedMethods | None = None,
    request_policy: cloudfront.IOriginRequestPolicy | None = None,
) -> cloudfront.BehaviorOptions:
    return cloudfront.BehaviorOptions(
        origin=origin,
        cache_policy=cache,
        response_headers_policy=headers,
        allowed_methods=methods,
        origin_request_policy=request_policy,
        viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
    )


def _headers(scope: Construct, name: str, sign_in_origin: str) -> cloudfront.ResponseHeadersPolicy:
    """Return the headers that ``mlops console`` also sends, and Strict-Transport-Security."""
    return cloudfront.ResponseHeadersPolicy(
        scope,
        "Headers",
        response_headers_policy_name=name,
        security_headers_behavior=cloudfront.ResponseSecurityHeadersBehavior(
            content_security_policy=cloudfront.ResponseHeadersContentSecurityPolicy(
                content_security_policy=content_policy(connects_to=sign_in_origin), override=True
            ),
            content_type_options=cloudfront.ResponseHeadersContentTypeOptions(override=True),
            referrer_policy=cloudfront.ResponseHeadersReferrerPolicy(
                referrer_policy=cloudfront.HeadersReferrerPolicy.NO_REFERRER, override=True
            ),
            strict_transport_security=cloudfront.ResponseHeadersStrictTransportSecurity(
                access_control_max_age=_TWO_YEARS, include_subdomains=True, override=True
            ),
        ),
        custom_headers_behavior=cloudfront.ResponseCustomHeadersBehavior(
            custom_headers=[
                cloudfront.ResponseCustomHeader(header=name, value=value, override=True)
                for name, value in HEADERS.items()
                if name not in _OWN_FIELDS
            ]
        ),
    )
