"""The public half of a unit's signing key: all that a verifier needs, without AWS and without a package of cryptography."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import lru_cache

from mlops_runtime.verify import p256

_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"


class PublicKeyError(ValueError):
    """Something is not the public key of a unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A P-256 key that verifies seals.

    Args:
        der: SubjectPublicKeyInfo, as KMS answers to GetPublicKey:
            https://docs.aws.amazon.com/kms/latest/APIReference/API_GetPublicKey.html

    Raises:
        PublicKeyError: If it is something else, or a key of another curve.
    """

    der: bytes

    def __post_init__(self) -> None:
        """Refuse what is not a key."""
        if not p256.is_key(self.der):
            raise PublicKeyError(f"a unit's key is an elliptic curve key on P-256, got {len(self.der)} other bytes")

    @classmethod
    def from_pem(cls, text: str) -> "PublicKey":
        """Read a PEM file, as ``mlops audit export`` writes it.

        Raises:
            PublicKeyError: If it is something else.
        """
        body = text.strip()
        if not (body.startswith(_BEGIN) and body.endswith(_END)):
            raise PublicKeyError(f"a public key begins with {_BEGIN} and ends with {_END}")
        inner = "".join(body.removeprefix(_BEGIN).removesuffix(_END).split())
        try:
            return cls(der=base64.b64decode(inner, validate=True))
        except binascii.Error as error:
            raise PublicKeyError(f"what stands between {_BEGIN} and {_END} is not base64: {error}") from error

    @property
    def pem(self) -> str:
        """The key as a PEM file."""
        text = base64.b64encode(self.der).decode()
        lines = [text[start : start + 64] for start in range(0, len(text), 64)]
        return "\n".join([_BEGIN, *lines, _END, ""])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key's DER form, by which people compare keys."""
        return hashlib.sha256(self.der).hexdigest()

    def is_signed(self, message: bytes, signature: bytes) -> bool:
        """Whether a message has this signature: ECDSA with SHA-256, DER form."""
        return _verify(self.der, signature, message)


@lru_cache(maxsize=65536)
def _verify(der: bytes, signature: bytes, message: bytes) -> bool:
    """Each seal stands twice, beside its record and published."""
    return p256.verify(der, signature, message)
