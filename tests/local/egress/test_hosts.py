"""Recognition of AWS's hosts."""

import json
from pathlib import Path

import botocore
import pytest

from mlops_local.egress.hosts import Kind, covers_aws, domains, endpoint_domains, kind

ENDPOINTS = [
    "sts.us-east-1.amazonaws.com",
    "sts.amazonaws.com",
    "queue.amazonaws.com",
    "STS.US-EAST-1.AMAZONAWS.COM.",
    "data.s3.eu-west-1.amazonaws.com",
    "000000000000.ddb.us-east-1.amazonaws.com",
    "api.sagemaker.cn-north-1.amazonaws.com.cn",
    "sqs.us-east-1.api.aws",
    "sts.eusc-de-east-1.amazonaws.eu",
    "sts.us-iso-east-1.c2s.ic.gov",
]


@pytest.mark.parametrize("host", ENDPOINTS)
def test_endpoints_of_every_partition(host: str) -> None:
    """Also virtual hosts, legacy names and dual-stack names."""
    assert kind(host) is Kind.ENDPOINT


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("docs.aws.amazon.com", Kind.AWS),
        ("signin.aws.amazon.com", Kind.AWS),
        ("d-1234567890.awsapps.com", Kind.AWS),
        ("abc.lambda-url.us-east-1.on.aws", Kind.AWS),
        ("public.ecr.aws", Kind.AWS),
        ("cli.cdk.dev-tools.aws.dev", Kind.AWS),
        ("169.254.169.254", Kind.METADATA),
        ("[fd00:ec2::254]", Kind.METADATA),
        ("127.0.0.1", Kind.LOOPBACK),
        ("::1", Kind.LOOPBACK),
        ("localhost", Kind.LOOPBACK),
        ("app.localhost", Kind.LOOPBACK),
        ("www.amazon.com", Kind.FOREIGN),
        ("notamazonaws.com", Kind.FOREIGN),
        ("amazonaws.com.example.org", Kind.FOREIGN),
        ("draws", Kind.FOREIGN),
        ("pypi.example", Kind.FOREIGN),
        ("10.0.0.7", Kind.FOREIGN),
    ],
)
def test_all_other_hosts(host: str, expected: Kind) -> None:
    """Only the last labels make a name AWS's, never a part of a label."""
    assert kind(host) is expected


def test_no_partition_of_botocore_is_left_out() -> None:
    """A new partition arrives with a new botocore."""
    data = json.loads((Path(botocore.__file__).parent / "data" / "partitions.json").read_text())
    suffixes = {row["outputs"]["dnsSuffix"] for row in data["partitions"]}

    assert len(suffixes) >= 7
    assert suffixes <= endpoint_domains() < domains()


def test_the_older_list_of_endpoints_agrees() -> None:
    """Every partition of ``endpoints.json`` ends in a known domain."""
    data = json.loads((Path(botocore.__file__).parent / "data" / "endpoints.json").read_text())

    assert {partition["dnsSuffix"] for partition in data["partitions"]} <= endpoint_domains()


@pytest.mark.parametrize(
    "entry",
    ["*", ".amazonaws.com", "*.amazonaws.com", "amazonaws.com", "s3.amazonaws.com", "com", ".amazon.com",
     "169.254.169.254", "169.254.0.0/16", "api.aws", "cn"],
)  # fmt: skip
def test_entries_that_would_lead_past_the_proxy(entry: str) -> None:
    """Entries that name AWS, a domain above it, or everything."""
    assert covers_aws(entry)


@pytest.mark.parametrize("entry", ["", "localhost", ".intranet.example", "10.0.0.0/8", "gitlab.example:8443"])
def test_entries_that_the_user_keeps(entry: str) -> None:
    """All other entries stay."""
    assert not covers_aws(entry)
