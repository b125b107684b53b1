"""The environment of a shell, and the recorded values from before."""

import json
from pathlib import Path

import pytest

from mlops_local.egress import environment
from mlops_local.egress.environment import conflicting, container, enclosed, outer, proxy_url, trusted_certificates

TRUSTED = Path("/home/cloud/trusted.pem")
USER = {
    "PATH": "/bin",
    "https_proxy": "http://me:secret@proxy.example:3128",
    "NO_PROXY": "intranet.example, .amazonaws.com,*",
    "NODE_EXTRA_CA_CERTS": "/etc/corporate.pem",
}


def test_clients_of_every_kind_are_led_to_the_proxy() -> None:
    """Both spellings, loopback excluded, and the certificates for botocore and node."""
    proxy = proxy_url(4000, "to/ken")
    found = enclosed({}, proxy=proxy, trusted=TRUSTED)

    assert proxy == "http://mlops:to%2Fken@127.0.0.1:4000"
    assert {found[name] for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")} == {proxy}
    assert found["NO_PROXY"] == found["no_proxy"] == "127.0.0.1,localhost,::1"
    assert found["AWS_CA_BUNDLE"] == found["NODE_EXTRA_CA_CERTS"] == str(TRUSTED)


def test_what_the_user_reaches_directly_stays_so_but_for_aws() -> None:
    """A company's hosts stay direct; entries that cover AWS are removed."""
    found = enclosed(USER, proxy="http://127.0.0.1:4000", trusted=TRUSTED)

    assert found["no_proxy"] == "127.0.0.1,localhost,::1,intranet.example"


def test_the_same_again_from_inside() -> None:
    """A second ``mlops local env`` or ``up`` in the same shell uses the user's proxy, not the proxy of the first."""
    first = {**USER, **enclosed(USER, proxy="http://127.0.0.1:4000", trusted=TRUSTED)}

    assert outer(first) == USER
    assert outer(outer(first)) == USER
    assert enclosed(outer(first), proxy="http://127.0.0.1:4000", trusted=TRUSTED).items() <= first.items()


def test_containers_inherit_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the user's earlier settings; with network isolation as another user of the proxy."""
    for name, value in enclosed(USER, proxy=proxy_url(4000, "token"), trusted=TRUSTED).items():
        monkeypatch.setenv(name, value)

    assert environment.OUTER not in container(isolated=False)
    assert container(isolated=False)["https_proxy"] == "http://mlops:token@127.0.0.1:4000"
    assert container(isolated=True)["https_proxy"] == "http://isolated:token@127.0.0.1:4000"
    assert container(isolated=True)["NO_PROXY"] == container(isolated=False)["NO_PROXY"]


def test_containers_of_no_embedded_cloud_get_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the user is not passed to containers."""
    monkeypatch.delenv(environment.OUTER, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")

    assert container(isolated=True) == {"ORT_DISABLE_TELEMETRY": "1"}


def test_settings_of_another_account_are_named() -> None:
    """A profile, a token, and the endpoint of one service."""
    environ = dict.fromkeys(
        ["AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS", "AWS_REGION", "HOME"], "x"
    )

    environ |= {"AWS_ENDPOINT_URL_;rm;": "what a shell would evaluate"}
    assert conflicting(environ) == ["AWS_ENDPOINT_URL_STS", "AWS_PROFILE", "AWS_SESSION_TOKEN"]


def test_certificates_of_the_user_are_kept(tmp_path: Path) -> None:
    """The bundle that botocore would read, and node's extra certificates."""
    bundle, extra = tmp_path / "bundle.pem", tmp_path / "extra.pem"
    bundle.touch()
    extra.touch()

    given = {"AWS_CA_BUNDLE": str(bundle), "NODE_EXTRA_CA_CERTS": str(extra), "REQUESTS_CA_BUNDLE": "/other"}
    assert trusted_certificates(given) == [bundle, extra]
    (default,) = trusted_certificates({"NODE_EXTRA_CA_CERTS": str(tmp_path / "missing.pem")})
    assert b"BEGIN CERTIFICATE" in default.read_bytes()


def test_what_was_before_is_json() -> None:
    """Other programs can parse it."""
    found = enclosed(USER, proxy="http://127.0.0.1:4000", trusted=TRUSTED)

    assert json.loads(found[environment.OUTER])["https_proxy"] == USER["https_proxy"]
