"""A signed passport survives JSON, and its key says where it belongs."""

from __future__ import annotations

import json

import pytest

from mlops_runtime.contracts import ContractError, canonical_json, from_json
from mlops_runtime.contracts.passport import Passport, PassportGate, SignedPassport, passport_key

GATE = PassportGate(verdict="PASSED", reason="better", uri="s3://b/gate.json", evaluation_sha256="9" * 64)
PASSPORT = Passport(
    endpoint="demand-forecast",
    sequence=3,
    at="2026-11-28T10:00:00+00:00",
    execution="arn:deploy:1",
    requested_by="ann",
    container_sha256="c" * 64,
    environment={"A": "1"},
    gate=GATE,
    not_recorded={"code": "a package names no revision of its training code"},
)
SIGNED = SignedPassport(passport=PASSPORT, key="arn:key", signature="c2lnbmVk")


def test_a_signed_passport_survives_json() -> None:
    """Every field, including the gate and the reasons."""
    assert from_json(SignedPassport, canonical_json(SIGNED)) == SIGNED


@pytest.mark.parametrize(("name", "value"), [("format", "mlops.passport/2"), ("sequence", "three"), ("gate", "PASSED")])
def test_fails_on_another_shape(name: str, value: str) -> None:
    """Rejects another version and a field of another type."""
    content = json.loads(canonical_json(SIGNED))
    content["passport"][name] = value
    with pytest.raises(ContractError, match=name):
        from_json(SignedPassport, json.dumps(content))


def test_passports_are_listed_in_the_order_of_their_records() -> None:
    """Keys of one endpoint sort by sequence."""
    keys = [passport_key("demand-forecast", sequence, "a" * 64) for sequence in (2, 10, 9_999_999)]
    assert keys == sorted(keys)
    assert keys[0] == "passports/demand-forecast/00000002-aaaaaaaaaaaaaaaa.json"
