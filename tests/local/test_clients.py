"""Clients by which the embedded cloud calls itself."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import UnknownServiceError
from ministack.core.responses import request_scope

from mlops_local import clients, settings
from mlops_local.cloud import Cloud


@pytest.fixture
def at_home(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process act as the child of the running cloud, with its port and keys."""
    monkeypatch.setattr(settings, "port", cloud.port)
    monkeypatch.setattr(settings, "root_keys", lambda account=settings.ACCOUNT: cloud.at(account).root_keys())
    clients._client.cache_clear()
    yield
    clients._client.cache_clear()


@pytest.mark.cloud
@pytest.mark.usefixtures("at_home")
def test_calls_the_cloud_as_its_root_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile and keys of the machine's user have no effect."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")

    assert clients.client("sts").get_caller_identity()["Arn"] == "arn:aws:iam::000000000000:root"


@pytest.mark.cloud
@pytest.mark.usefixtures("at_home")
def test_a_client_is_of_the_account_and_region_of_its_thread() -> None:
    """Resources made by an account's stack, job or scaling policy are in that account."""
    with request_scope("111111111111", "eu-west-1"):
        client = clients.client("sts")
        assert clients.root_keys()["aws_access_key_id"] == "111111111111"

    assert client.get_caller_identity()["Arn"] == "arn:aws:iam::111111111111:root"
    assert client.meta.region_name == "eu-west-1"
    assert clients.client("sts").get_caller_identity()["Account"] == "000000000000"


@pytest.mark.usefixtures("at_home")
def test_endpoint_and_region_are_the_settings() -> None:
    """It only connects to 127.0.0.1, and gives up after three attempts."""
    client = clients.client("sqs")

    assert client.meta.endpoint_url == settings.endpoint_url() == f"http://127.0.0.1:{settings.port}"
    assert client.meta.region_name == "us-east-1"
    assert client.meta.config.retries["total_max_attempts"] == 3


@pytest.mark.cloud
@pytest.mark.usefixtures("at_home")
def test_threads_share_one_client_of_a_service() -> None:
    """Creating boto3 clients concurrently is unsafe: many threads get the same client, and can use it."""
    begin = threading.Barrier(16)

    def call(_: int) -> tuple[int, str]:
        begin.wait()
        client = clients.client("sts")
        return id(client), client.get_caller_identity()["Account"]

    with ThreadPoolExecutor(16) as pool:
        seen = set(pool.map(call, range(16)))

    assert len(seen) == 1
    assert seen.pop()[1] == "000000000000"
    assert clients.client("sqs") is not clients.client("sts")


@pytest.mark.usefixtures("at_home")
def test_fails_for_a_service_that_boto3_has_not() -> None:
    """A failure is not cached: the next client is created normally."""
    with pytest.raises(UnknownServiceError, match="Unknown service: 'sagemakr'"):
        clients.client("sagemakr")

    assert clients.client("sagemaker").meta.service_model.service_name == "sagemaker"
