"""Custom names of distributions and APIs: what AWS rejects, and their use through a shell's proxy."""

import json
import ssl
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from tests.local.gateway.conftest import Front
from tests.local.gateway.test_api_hosts import ANSWER, MOCK
from tests.local.site import certificate, give_name, make_site

from mlops_local.cloud import Cloud


def _client(cloud: Cloud, *, proxy: str = "") -> httpx.Client:
    environment = cloud.environment()
    context = ssl.create_default_context(cafile=environment["AWS_CA_BUNDLE"])
    return httpx.Client(proxy=proxy or environment["HTTPS_PROXY"], verify=context, trust_env=False, timeout=30)


def test_a_distribution_is_read_at_its_own_name(cloud: Cloud, unique: str) -> None:
    """By verified TLS, without the proxy's password, as a page; every path is the distribution's."""
    site, name = make_site(cloud, unique), f"{unique}.example.com"
    give_name(cloud, site, certificate(cloud, "*.example.com"), name)
    cloud.client("s3").put_object(Bucket=unique, Key="v2/email", Body=b"of the page")
    with _client(cloud, proxy=f"http://127.0.0.1:{cloud.proxy_port}") as client:
        read, other = client.get(f"https://{name}/"), client.get(f"https://{name}/v2/email")
        own = client.get(f"https://{name}/_mlops/clock")

    assert (read.status_code, "<title>site</title>" in read.text, other.text) == (200, True, "of the page")
    assert own.status_code == 403
    assert f"https://{name}" in cloud.status()["pages"]
    assert f"https://{site}" not in cloud.status()["pages"]


@pytest.mark.parametrize(
    ("certified", "region", "problem"),
    [
        (None, "", "you must attach a trusted certificate"),
        ("own", "eu-west-1", "isn't in us-east-1 region"),
        ("other.example.com", "us-east-1", "doesn't cover the alternate domain name"),
        ("*.com", "us-east-1", "doesn't cover the alternate domain name"),
    ],
)
def test_a_distribution_needs_a_certificate_for_its_name(
    cloud: Cloud, unique: str, certified: str | None, region: str, problem: str
) -> None:
    """In us-east-1 and for that name; otherwise nothing changes."""
    site, name = make_site(cloud, unique), f"{unique}.example.com"
    arn = certified and certificate(cloud, name if certified == "own" else certified, region=region)

    with pytest.raises(ClientError, match=rf"\(InvalidViewerCertificate\).*{problem}"):
        give_name(cloud, site, arn, name)

    assert f"https://{site}" in cloud.status()["pages"]


def test_a_name_is_of_one_distribution(cloud: Cloud, unique: str) -> None:
    """A second one is rejected, and the first keeps its name when it changes."""
    name, arn = f"{unique}.example.com", certificate(cloud, f"{unique}.example.com")
    first, second = make_site(cloud, unique), make_site(cloud, f"{unique}-2")
    give_name(cloud, first, arn, name)
    give_name(cloud, first, arn, name)

    with pytest.raises(ClientError, match="CNAMEAlreadyExists"):
        give_name(cloud, second, arn, name)


def test_an_api_answers_at_its_own_name_alone(cloud: Cloud, unique: str) -> None:
    """Without a stage in the path; unmapped paths are forbidden, and so is the default endpoint once disabled."""
    name = f"{unique}.example.com"
    gateway = cloud.client("apigateway")
    api = Front(cloud, gateway).api()
    api.method("/rows", ANSWER, **MOCK)
    api.deploy()
    gateway.create_domain_name(
        domainName=name,
        regionalCertificateArn=certificate(cloud, name),
        endpointConfiguration={"types": ["REGIONAL"]},
    )
    gateway.create_base_path_mapping(domainName=name, basePath="v1", restApiId=api.id, stage="live")
    address = f"https://{api.id}.execute-api.us-east-1.amazonaws.com/live/rows"
    with _client(cloud) as client:
        requested = client.post(f"https://{name}/v1/rows", json={})
        service = client.post(f"https://{name}/", json={}, headers={"X-Amz-Target": "DynamoDB_20120810.ListTables"})
        before = client.post(address, json={})
        closing = [{"op": "replace", "path": "/disableExecuteApiEndpoint", "value": "true"}]
        gateway.update_rest_api(restApiId=api.id, patchOperations=closing)
        closed, still = client.post(address, json={}), client.post(f"https://{name}/v1/rows", json={})

    assert (requested.status_code, requested.json()["stage"], before.status_code) == (200, "live", 200)
    assert service.status_code == 403
    assert (closed.status_code, closed.json(), still.status_code) == (403, {"message": "Forbidden"}, 200)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"certificateArn": "own"}, "Cannot import certificates for EDGE while REGIONAL is active"),
        ({"regionalCertificateArn": "abroad"}, r"Invalid certificate ARN: .* Certificate must be in 'us-east-1'"),
        ({"regionalCertificateArn": "unknown"}, "must be owned by the account creating the domain"),
        ({"regionalCertificateArn": "other"}, "does not cover the domain name"),
        ({}, "Certificate must be in 'us-east-1'"),
    ],
)
def test_an_api_needs_a_certificate_for_its_name(
    cloud: Cloud, unique: str, given: dict[str, str], problem: str
) -> None:
    """In its own region and for that name."""
    name = f"{unique}.example.com"
    made = {
        "own": lambda: certificate(cloud, name),
        "abroad": lambda: certificate(cloud, name, region="eu-west-1"),
        "other": lambda: certificate(cloud, "other.example.com"),
        "unknown": lambda: "arn:aws:acm:us-east-1:000000000000:certificate/0",
    }
    arns: dict[str, Any] = {field: made[kind]() for field, kind in given.items()}

    with pytest.raises(ClientError, match=rf"\(BadRequestException\).*{problem}"):
        cloud.client("apigateway").create_domain_name(
            domainName=name, endpointConfiguration={"types": ["REGIONAL"]}, **arns
        )


def test_a_template_is_held_to_the_same(cloud: Cloud, unique: str) -> None:
    """A stack fails with AWS's message; one with a matching certificate is created and can be updated."""
    name = f"{unique}.example.com"
    formation, arn = cloud.client("cloudformation"), certificate(cloud, name)

    def template(certificate: str, policy: str) -> str:
        properties = {
            "DomainName": name,
            "RegionalCertificateArn": certificate,
            "EndpointConfiguration": {"Types": ["REGIONAL"]},
            "SecurityPolicy": policy,
        }
        return json.dumps({"Resources": {"Name": {"Type": "AWS::ApiGateway::DomainName", "Properties": properties}}})

    formation.create_stack(StackName=unique, TemplateBody=template(certificate(cloud, "a.example.com"), "TLS_1_2"))
    events = formation.describe_stack_events(StackName=unique)["StackEvents"]
    formation.create_stack(StackName=f"{unique}-2", TemplateBody=template(arn, "TLS_1_0"))
    formation.get_waiter("stack_create_complete").wait(StackName=f"{unique}-2", WaiterConfig={"Delay": 1})
    formation.update_stack(StackName=f"{unique}-2", TemplateBody=template(arn, "TLS_1_2"))
    formation.get_waiter("stack_update_complete").wait(StackName=f"{unique}-2", WaiterConfig={"Delay": 1})

    assert any("does not cover the domain name" in each.get("ResourceStatusReason", "") for each in events), events
    assert cloud.client("apigateway").get_domain_name(domainName=name)["securityPolicy"] == "TLS_1_2"
