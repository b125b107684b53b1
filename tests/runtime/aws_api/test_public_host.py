"""Hosts that AWS can reach, by name."""

import pytest

from mlops_runtime.aws_api.public_host import is_public_host


@pytest.mark.parametrize(
    "host", ["gitlab.com", "git.example.com", "GitLab.Example.co.uk", "keys.s3.eu-north-1.amazonaws.com", "8.8.8.8"]
)
def test_a_name_of_public_dns_is_public(host: str) -> None:
    """Whether it answers, the network shows."""
    assert is_public_host(host)


@pytest.mark.parametrize(
    "host",
    [
        *("gitlab", "localhost", "gitlab.local", "git.corp", "git.shop.internal", "git.home.arpa", "git.test."),
        *("10.1.2.3", "192.168.0.9", "127.0.0.1", "169.254.169.254", "100.64.0.1"),
    ],
)
def test_what_no_public_dns_has_is_not(host: str) -> None:
    """One label, a reserved domain, an address of a private network."""
    assert not is_public_host(host)
