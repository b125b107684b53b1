"""Keys as KMS and PEM files have them, against the package `cryptography`."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.signing import KEY, SigningKms

from mlops_runtime.rollout.public_key import PublicKey, PublicKeyError

KMS = SigningKms()


def test_a_pem_file_is_what_others_write() -> None:
    """Byte for byte, and read back."""
    key = serialization.load_der_public_key(KMS.get_public_key(KeyId=KEY)["PublicKey"])
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    assert KMS.public.pem == pem
    assert PublicKey.from_pem(pem) == KMS.public
    assert len(KMS.public.fingerprint) == 64


def test_a_signature_is_of_one_key_and_message() -> None:
    """A changed message, another key and a cut signature are refused, also when asked twice."""
    signature = KMS.sign(KeyId=KEY, Message=b"m", MessageType="RAW", SigningAlgorithm="ECDSA_SHA_256")["Signature"]
    for _ in range(2):
        assert KMS.public.is_signed(b"m", signature)
        assert not KMS.public.is_signed(b"n", signature)
        assert not KMS.public.is_signed(b"m", signature[:-1])
        assert not SigningKms().public.is_signed(b"m", signature)


def test_fails_on_what_is_no_key_of_a_unit() -> None:
    """Another curve, a private key's file, and half a file."""
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    pem = other.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(PublicKeyError, match="on P-256, got 120 other bytes"):
        PublicKey.from_pem(pem)
    with pytest.raises(PublicKeyError, match="begins with -----BEGIN PUBLIC KEY-----"):
        PublicKey.from_pem(pem.replace("PUBLIC", "PRIVATE"))
    with pytest.raises(PublicKeyError, match="is not base64"):
        PublicKey.from_pem(pem.replace("M", "?", 1))
