"""Signatures on P-256, held against the package of cryptography, and what must not pass."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from mlops_runtime.verify.p256 import verify

N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# RFC 6979, A.2.5: P-256, SHA-256, message "sample"
X = 0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6
Y = 0x7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299
R = 0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716
S = 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8


def der(key: ec.EllipticCurvePublicKey) -> bytes:
    """As GetPublicKey of KMS gives it."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_the_vector_of_the_standard() -> None:
    """https://www.rfc-editor.org/rfc/rfc6979#appendix-A.2.5."""
    key = der(ec.EllipticCurvePublicNumbers(X, Y, ec.SECP256R1()).public_key())

    assert verify(key, encode_dss_signature(R, S), b"sample")
    assert not verify(key, encode_dss_signature(R, S), b"test")


def test_signatures_of_another_implementation() -> None:
    """Its own key and message alone; numbers of a signature may be short."""
    for _ in range(40):
        private, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        message = os.urandom(40)
        signature = private.sign(message, ec.ECDSA(hashes.SHA256()))
        assert verify(der(private.public_key()), signature, message)
        assert not verify(der(other.public_key()), signature, message)
        assert not verify(der(private.public_key()), signature, message + b"x")


def test_what_is_no_signature_or_key_does_not_pass() -> None:
    """Numbers out of range, another form of the same numbers, a point off the curve, another curve, rubbish."""
    private = ec.generate_private_key(ec.SECP256R1())
    key, message = der(private.public_key()), b"message"
    signature = private.sign(message, ec.ECDSA(hashes.SHA256()))
    r, s = decode_dss_signature(signature)

    for numbers in ((0, s), (r, 0), (N, s), (r, N), (r + N, s), (0, 0)):
        assert not verify(key, encode_dss_signature(*numbers), message)
    for bad in (b"", signature[:-1], signature + b"\0", b"\x31" + signature[1:], b"\x30\x00", os.urandom(70)):
        assert not verify(key, bad, message)
    off = key[:-1] + bytes([key[-1] ^ 1])
    longer = der(ec.generate_private_key(ec.SECP384R1()).public_key())
    for bad in (b"", off, key[:-1], longer, key[:26] + b"\x02" + key[27:], b"\0" * len(key)):
        assert not verify(bad, signature, message)
    padded = b"\x30" + bytes([len(signature) - 1]) + b"\x02" + bytes([signature[3] + 1]) + b"\0" + signature[4:]
    assert not verify(key, padded, message)


@pytest.mark.parametrize("bit", range(0, 500, 37))
def test_no_bit_of_a_signature_may_change(bit: int) -> None:
    """Each is looked at."""
    private = ec.derive_private_key(12345, ec.SECP256R1())
    signature = bytearray(private.sign(b"m", ec.ECDSA(hashes.SHA256())))
    signature[bit // 8] ^= 1 << bit % 8

    assert not verify(der(private.public_key()), bytes(signature), b"m")
