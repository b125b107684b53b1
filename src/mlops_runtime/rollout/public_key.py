"""The public half of a unit's signing key: what a verifier needs, without AWS.

No function imports this: it needs ``cryptography``, which the command has.
"""

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class PublicKeyError(ValueError):
    """A file is not the public key of a unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A P-256 key that verifies seals.

    Args:
        key: The key.
    """

    key: ec.EllipticCurvePublicKey

    @classmethod
    def from_der(cls, content: bytes) -> "PublicKey":
        """Read what KMS answers to GetPublicKey: a DER-encoded SubjectPublicKeyInfo.

        See: https://docs.aws.amazon.com/kms/latest/APIReference/API_GetPublicKey.html

        Raises:
            PublicKeyError: If it is something else, or a key of another curve.
        """
        try:
            return cls._checked(serialization.load_der_public_key(content))
        except ValueError as error:
            raise PublicKeyError(f"not a public key: {error}") from error

    @classmethod
    def from_pem(cls, content: bytes) -> "PublicKey":
        """Read a PEM file, as ``mlops audit export`` writes it.

        Raises:
            PublicKeyError: If it is something else, or a key of another curve.
        """
        try:
            return cls._checked(serialization.load_pem_public_key(content))
        except ValueError as error:
            raise PublicKeyError(f"not a public key: {error}") from error

    @property
    def pem(self) -> bytes:
        """The key as a PEM file."""
        return self.key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key's DER encoding, by which people compare keys."""
        der = self.key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        digest = hashes.Hash(hashes.SHA256())
        digest.update(der)
        return digest.finalize().hex()

    def is_signed(self, message: bytes, signature: bytes) -> bool:
        """Whether a message has this signature: ECDSA with SHA-256, DER-encoded."""
        try:
            self.key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    @classmethod
    def _checked(cls, key: object) -> "PublicKey":
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise PublicKeyError(f"a unit's key is an elliptic curve key on P-256, got {type(key).__name__}")
        return cls(key=key)
