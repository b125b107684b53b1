"""Certificate authorities trusted by the embedded cloud's clients, in one file: one for AWS, one per custom domain name."""

import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from mlops_local.egress.authority import Authority


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
