"""A client started after a custom name was added trusts it; the name's authority can sign only for that name."""

from pathlib import Path

from cryptography import x509
from tests.local.egress.test_authority import handshake

from mlops_local.egress.certificates import Certificates

FOREIGN = b"-----BEGIN CERTIFICATE-----\nZm9yZWlnbg==\n-----END CERTIFICATE-----"


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
