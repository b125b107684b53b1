"""The bearer token of EKS: a presigned GetCallerIdentity that names the cluster."""

import base64
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from mlops_runtime.eks.token import PREFIX, BearerToken, TokenError


def _session(region: str | None = "eu-west-1", token: str | None = None) -> boto3.Session:
    return boto3.Session("AKIATEST", "secret", token, region_name=region)


def _url(text: str) -> str:
    assert text.startswith(PREFIX)
    encoded = text.removeprefix(PREFIX)
    assert "=" not in encoded
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()


def test_the_token_is_a_signed_call_of_sts_for_one_cluster() -> None:
    """As https://docs.aws.amazon.com/eks/latest/userguide/cluster-auth.html and the authenticator expect it."""
    parts = urlsplit(_url(BearerToken(_session(token="session-token"), "serving")()))
    query = {key: values[0] for key, values in parse_qs(parts.query).items()}

    assert (parts.scheme, parts.netloc, parts.path) == ("https", "sts.eu-west-1.amazonaws.com", "/")
    assert (query["Action"], query["Version"], query["X-Amz-Expires"]) == ("GetCallerIdentity", "2011-06-15", "60")
    assert query["X-Amz-SignedHeaders"] == "host;x-k8s-aws-id"
    assert query["X-Amz-Security-Token"] == "session-token"


def test_the_signature_holds_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed again with the header it comes out the same, and with another cluster's name it does not."""
    parts = urlsplit(_url(BearerToken(_session(), "serving")()))
    query = {key: values[0] for key, values in parse_qs(parts.query).items()}

    def signature(cluster: str) -> str:
        request = AWSRequest("GET", f"https://{parts.netloc}/?Action=GetCallerIdentity&Version=2011-06-15")
        request.headers["x-k8s-aws-id"] = cluster
        signer = SigV4QueryAuth(Credentials("AKIATEST", "secret"), "sts", "eu-west-1", expires=60)
        monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: _stamp(query["X-Amz-Date"]))
        signer.add_auth(request)
        return parse_qs(urlsplit(request.url).query)["X-Amz-Signature"][0]

    assert signature("serving") == query["X-Amz-Signature"]
    assert signature("other") != query["X-Amz-Signature"]


def _stamp(text: str) -> object:
    from datetime import UTC, datetime

    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def test_the_real_sts_is_named_whatever_this_process_is_pointed_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster makes the call, not this process; China has a domain of its own."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")

    assert urlsplit(_url(BearerToken(_session("cn-north-1"), "c")())).netloc == "sts.cn-north-1.amazonaws.com.cn"


def test_no_credentials_and_no_region_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is missing."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "none")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")

    with pytest.raises(TokenError, match="needs a session with credentials, got one without"):
        BearerToken(boto3.Session(region_name="eu-west-1"), "c")()
    with pytest.raises(TokenError, match="a region"):
        BearerToken(_session(None), "c")()
