"""What clients of the embedded cloud believe, in one file: AWS's domains, and each name of one's own by itself."""

import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from mlops_local.egress.authority import Authority


class Certificates:
    """One authority for AWS's domains, and one for each name of one's own, which may sign for that name and those below it.

    A client reads the file when it starts: one that runs already does not believe a name that comes later.

    Args:
        domains: AWS's.
        file: Where the certificates of the authorities are written, at once and with each new name.
        others: Certificates that stand there too.
    """

    def __init__(self, domains: Iterable[str], *, file: Path, others: Sequence[bytes] = ()) -> None:
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._aws = Authority(domains, leaf_key=self._leaf_key)
        self._own: dict[str, Authority] = {}
        self._file, self._others = file, others
        self._write()

    def add(self, name: str) -> None:
        """Let clients that start from now on believe a name of one's own."""
        if name not in self._own:
            self._own[name] = Authority([name], leaf_key=self._leaf_key)
            self._write()

    def context(self, host: str) -> ssl.SSLContext:
        """Return what a server needs to be taken for a host."""
        return self._own.get(host.rstrip(".").lower(), self._aws).context(host)

    def pin(self) -> str:
        """Return the Base64 of the SHA-256 of the public key that every certificate for a host has."""
        return self._aws.pin()

    def _write(self) -> None:
        written = self._file.with_suffix(".new")
        written.write_bytes(b"\n".join([*self._others, *(each.pem() for each in (self._aws, *self._own.values()))]))
        written.replace(self._file)
