"""The certificate authorities of one run: kept in memory, limited to certain domains, and trusted through one file."""

import base64
import hashlib
import ipaddress
import ssl
import tempfile
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = timedelta(days=3650)
_CONTEXTS = 512  # cached contexts of hosts


class Authority:
    """Signs a certificate for each host that the embedded cloud serves.

    Its private key is created here and never written. A critical extension of its certificate limits trust to certain domains,
    and excludes IP addresses: https://datatracker.ietf.org/doc/html/rfc5280#section-4.2.1.10

    Args:
        domains: The permitted domains.
        leaf_key: Key of all host certificates. Default: a new one.
    """

    def __init__(self, domains: Iterable[str], *, leaf_key: ec.EllipticCurvePrivateKey | None = None) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._leaf_key = ec.generate_private_key(ec.SECP256R1()) if leaf_key is None else leaf_key
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mlops embedded cloud")])
        self._identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()
        permitted = [x509.DNSName(domain) for domain in sorted(domains)]
        # a name type without any subtree is unconstrained: exclude IP addresses explicitly
        excluded = [x509.IPAddress(ipaddress.ip_network(block)) for block in ("0.0.0.0/0", "::/0")]
        self._certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.NameConstraints(permitted, excluded), critical=True)
            .add_extension(self._identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def pem(self) -> bytes:
        """Return the authority's certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def pin(self) -> str:
        """Return the Base64-encoded SHA-256 of the public key of all host certificates."""
        key = self._leaf_key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return base64.b64encode(hashlib.sha256(key).digest()).decode()

    def context(self, host: str) -> ssl.SSLContext:
        """Return the TLS server context of a host."""
        with self._lock:
            found = self._contexts.get(host)
            if found is None:
                if len(self._contexts) >= _CONTEXTS:
                    self._contexts.clear()
                found = self._contexts[host] = self._context(host)
            return found

    def _context(self, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        key = self._leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        # the ssl module only reads files: a temporary one that only its owner may read
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            Path(file.name).write_bytes(key + self._leaf(host).public_bytes(serialization.Encoding.PEM))
            context.load_cert_chain(file.name)
        return context

    def _leaf(self, host: str) -> x509.Certificate:
        return (
            self._builder(x509.Name([]), self._leaf_key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            # critical, since the subject is empty: https://datatracker.ietf.org/doc/html/rfc5280#section-4.2.1.6
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identifier), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + _LIFE)
        )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


class Certificates:
    """One authority for AWS's domains, and one per custom domain name, limited to that name and its subdomains.

    Clients read the file at start: a running client does not trust names added later.

    Args:
        domains: AWS's domains.
        file: File of the authorities' certificates, written now and for each new name.
        others: Further certificates to include.
    """

    def __init__(self, domains: Iterable[str], *, file: Path, others: Sequence[bytes] = ()) -> None:
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._aws = Authority(domains, leaf_key=self._leaf_key)
        self._own: dict[str, Authority] = {}
        self._file, self._others = file, others
        self._write()

    def add(self, name: str) -> None:
        """Add a custom domain name, trusted by clients that start from now on."""
        if name not in self._own:
            self._own[name] = Authority([name], leaf_key=self._leaf_key)
            self._write()

    def context(self, host: str) -> ssl.SSLContext:
        """Return the TLS server context of a host."""
        return self._own.get(host.rstrip(".").lower(), self._aws).context(host)

    def pin(self) -> str:
        """Return the Base64-encoded SHA-256 of the public key of all host certificates."""
        return self._aws.pin()

    def _write(self) -> None:
        written = self._file.with_suffix(".new")
        written.write_bytes(b"\n".join([*self._others, *(each.pem() for each in (self._aws, *self._own.values()))]))
        written.replace(self._file)
