"""A KMS with one real key of `cryptography`, for tests of signatures."""

from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mlops_runtime.rollout.seals import PublicKey, Sealer

KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"


class SigningKms:
    """Signs as KMS does: ECC_NIST_P256, messages of at most 4,096 bytes, DER signatures."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())

    def sign(self, **request: Any) -> dict[str, Any]:
        """Sign."""
        assert (request["MessageType"], request["SigningAlgorithm"]) == ("RAW", "ECDSA_SHA_256")
        assert len(request["Message"]) <= 4096
        return {
            "KeyId": request["KeyId"],
            "Signature": self._private.sign(request["Message"], ec.ECDSA(hashes.SHA256())),
        }

    def get_public_key(self, **request: Any) -> dict[str, Any]:
        """Return the public key as DER."""
        der = self._private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return {"KeyId": request["KeyId"], "PublicKey": der}

    @property
    def public(self) -> PublicKey:
        """The public key."""
        return PublicKey(der=self.get_public_key(KeyId=KEY)["PublicKey"])

    @property
    def sealer(self) -> Sealer:
        """Return the sealer that signs records with the key."""
        return Sealer(kms=self, key=KEY)  # type: ignore[arg-type]  # a client in all but its class
