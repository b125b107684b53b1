"""The proxy over the lifetime of an embedded cloud."""

from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.local.egress.conftest import Recording

from mlops_local.cloud import Cloud


def test_a_shell_stays_right_over_a_restart(
    own_cloud: Callable[..., Cloud], serve: Callable[[str], Recording], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Restarted from its own shell it has the same addresses, a new authority, and the user's own proxy."""
    company, corporate = serve("company"), tmp_path / "corporate.pem"
    corporate.write_text("# of the company\n")
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{company.port}")
    for name in ("https_proxy", "no_proxy", "NO_PROXY", "NODE_EXTRA_CA_CERTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(corporate))
    first = own_cloud()
    before = first.environment()
    trusted = (first.home / "trusted.pem").read_text()
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    first.down()

    second = own_cloud()

    moved = {name for name, value in second.environment().items() if before[name] != value}
    assert moved == set()
    again = (second.home / "trusted.pem").read_text()
    assert again != trusted
    assert again.startswith("# of the company")
    assert again.count("BEGIN CERTIFICATE") == 1
    session = boto3.Session()  # a separate session: boto3 caches the first one's keys
    sts = session.client("sts", endpoint_url="https://sts.us-east-1.amazonaws.com")
    assert sts.get_caller_identity()["Account"] == "000000000000"
    polly = session.client("polly", endpoint_url="https://polly.us-east-1.amazonaws.com")
    with pytest.raises(ClientError, match="is not in the embedded cloud"):
        polly.list_lexicons()
    foreign = session.client("s3", endpoint_url="https://storage.example")
    with pytest.raises(Exception, match="Failed to connect to proxy URL"):
        foreign.list_buckets()
    assert {row[1] for row in company.seen} == {"storage.example:443"}
    hosts = second.status()["hosts"]
    assert hosts["served"] == {"sts.us-east-1.amazonaws.com": 1}
    assert list(hosts["refused"]) == ["polly.us-east-1.amazonaws.com"]


def test_no_file_of_a_cloud_holds_a_key(own_cloud: Callable[..., Cloud]) -> None:
    """Except MiniStack's key, which signs Cognito's tokens."""
    cloud = own_cloud()
    boto3.client("sts", **_root(cloud)).get_caller_identity()

    files = [path for path in cloud.home.rglob("*") if path.is_file()]

    assert len(files) > 5
    assert {path.name for path in files if b"PRIVATE KEY" in path.read_bytes()} <= {"cognito-rsa-key.pem"}


def _root(cloud: Cloud) -> dict[str, str]:
    return {"endpoint_url": cloud.endpoint_url, "region_name": "us-east-1", **cloud.root_keys()}
