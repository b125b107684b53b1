"""Certificates for AWS's hosts, and for names of one's own: trusted for those hosts only."""

import ipaddress
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509

from mlops_local.egress.authority import Authority, Certificates

FOREIGN = b"-----BEGIN CERTIFICATE-----\nZm9yZWlnbg==\n-----END CERTIFICATE-----"


def handshake(authority: Authority | Certificates, trusted: Path, signed: str, request: str) -> str:
    """Let a client that trusts the authority connect to a host, and return its verification result."""
    ours, theirs = socket.socketpair()
    context = ssl.create_default_context(cafile=str(trusted))
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # Python 3.13's default

    def serve() -> None:
        try:
            authority.context(signed).wrap_socket(ours, server_side=True).close()
        except OSError:
            ours.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with context.wrap_socket(theirs, server_hostname=request):
            return "trusted"
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        thread.join()


@pytest.fixture
def authority() -> Authority:
    """Return an authority for two domains."""
    return Authority(["amazonaws.com", "api.aws"])


@pytest.fixture
def trusted(authority: Authority, tmp_path: Path) -> Path:
    """Return the file of its certificate."""
    path = tmp_path / "trusted.pem"
    path.write_bytes(authority.pem())
    return path


@pytest.mark.parametrize(
    "host", ["sts.amazonaws.com", "a-bucket.with.dots.s3.eu-west-1.amazonaws.com", "sqs.us-east-1.api.aws"]
)
def test_clients_believe_it_for_hosts_of_its_domains(authority: Authority, trusted: Path, host: str) -> None:
    """By the strict rules of newer Pythons too."""
    assert handshake(authority, trusted, host, host) == "trusted"


def test_clients_do_not_believe_it_for_another_host(authority: Authority, trusted: Path) -> None:
    """A certificate is for one host name."""
    assert "Hostname mismatch" in handshake(authority, trusted, "sts.amazonaws.com", "iam.amazonaws.com")


@pytest.mark.parametrize("host", ["www.example.org", "amazonaws.com.example.org", "pypi.example"])
def test_clients_do_not_believe_it_outside_its_domains(authority: Authority, trusted: Path, host: str) -> None:
    """The name constraint rejects even a signature of its own key."""
    assert handshake(authority, trusted, host, host) == "permitted subtree violation"


@pytest.mark.parametrize("address", ["127.0.0.1", "93.184.216.34", "2001:db8::1"])
def test_clients_do_not_believe_it_for_an_address(
    authority: Authority, trusted: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Constraints on domains do not cover addresses, which are excluded separately."""
    monkeypatch.setattr(x509, "DNSName", lambda host: x509.IPAddress(ipaddress.ip_address(host)))

    assert handshake(authority, trusted, address, address) == "excluded subtree violation"


def test_its_key_is_in_no_file(authority: Authority, trusted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs have different keys, and no private key is stored."""
    folder = trusted.parent / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))

    authority.context("sts.amazonaws.com")

    assert list(folder.iterdir()) == []
    assert b"PRIVATE" not in trusted.read_bytes()
    first = x509.load_pem_x509_certificate(authority.pem())
    second = x509.load_pem_x509_certificate(Authority(["amazonaws.com"]).pem())
    assert first.public_key() != second.public_key()


def test_a_host_keeps_its_context(authority: Authority) -> None:
    """Connections to one host share a certificate and its TLS sessions."""
    assert authority.context("sts.amazonaws.com") is authority.context("sts.amazonaws.com")


def test_each_name_of_ones_own_has_an_authority(tmp_path: Path) -> None:
    """Earlier names and the initial content of the file stay; all share one key for the pin."""
    file = tmp_path / "trusted.pem"
    certificates = Certificates(["amazonaws.com"], file=file)
    before = file.read_bytes()
    for name in ("models.example.com", "console.example.com", "models.example.com"):
        certificates.add(name)

    names = ("sts.amazonaws.com", "models.example.com", "console.example.com")
    assert [handshake(certificates, file, name, name) for name in names] == ["trusted"] * 3
    assert handshake(certificates, file, "www.example.com", "www.example.com") == "permitted subtree violation"
    assert file.read_bytes().startswith(before)
    assert len(x509.load_pem_x509_certificates(file.read_bytes())) == 3


def test_certificates_of_the_user_stay_in_the_file(tmp_path: Path) -> None:
    """Adding a name keeps them."""
    file = tmp_path / "trusted.pem"
    certificates = Certificates(["amazonaws.com"], file=file, others=[FOREIGN])
    certificates.add("models.example.com")

    assert file.read_bytes().startswith(FOREIGN)
