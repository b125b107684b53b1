"""Objects of a package that are too large or were uploaded in parts."""

import base64
import io
from typing import Any

import pytest

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import GateResult, GateVerdict
from mlops_runtime.promotion.release_objects import MOST_BYTES, MOST_READ, ObjectReader

DIGEST = bytes(32)
METADATA = {
    "artifact_sha256": DIGEST.hex(),
    "evaluation_uri": "s3://b/evaluations/demand-forecast/one/evaluation.json",
    "evaluation_sha256": "0" * 64,
    "baseline_uri": "s3://b/evaluations/demand-forecast/one/baseline.json",
    "baseline_sha256": "0" * 64,
}


class _S3:
    """S3 responses about objects too large for a test."""

    def __init__(self, checksum: str | None, size: int) -> None:
        self.checksum, self.size = checksum, size

    def head_object(self, **_: Any) -> dict[str, Any]:
        return {"ContentLength": self.size} | ({} if self.checksum is None else {"ChecksumSHA256": self.checksum})

    def get_object(self, **_: Any) -> dict[str, Any]:
        return {"ContentLength": self.size, "Body": io.BytesIO(b"")}


def _problems(checksum: str | None, size: int) -> tuple[str, ...]:
    reader = ObjectReader(s3=_S3(checksum, size), bucket="b", names=("demand-forecast",))  # type: ignore[arg-type]  # two calls of it
    return reader.prove(METADATA, artifact_uri="s3://b/models/demand-forecast/one/model.tar.gz").problems


@pytest.mark.parametrize("checksum", [None, "", base64.b64encode(DIGEST).decode() + "-3", "short", "AAAA"])
def test_a_checksum_of_parts_proves_nothing(checksum: str | None) -> None:
    """S3 appends the number of parts to it: it is a hash of hashes."""
    assert any("S3 has no full-object SHA-256 of the archive" in problem for problem in _problems(checksum, 1))


def test_what_no_target_can_copy_or_no_function_read_is_named() -> None:
    """By size, for each object."""
    found = _problems(base64.b64encode(DIGEST).decode(), MOST_BYTES + 1)

    assert found[0].endswith(f"must have at most {MOST_BYTES} bytes to be copied, got {MOST_BYTES + 1}")
    assert [f"must have at most {MOST_READ} bytes" in problem for problem in found[1:]] == [True, True, True]


class _Gate(_S3):
    """Every object is the gate result of another environment."""

    def get_object(self, **_: Any) -> dict[str, Any]:
        uri, digest = "s3://theirs/evaluations/demand-forecast/one/evaluation.json", METADATA["evaluation_sha256"]
        gate = GateResult(
            verdict=GateVerdict.PASSED, checks=(), evaluation_uri=uri, evaluation_sha256=digest, reason="better"
        )
        content = canonical_json(gate)
        return {"ContentLength": len(content), "Body": io.BytesIO(content)}


def test_a_gate_of_another_environment_read_the_evaluation_there() -> None:
    """For a copied package only its hash counts; for one trained here also its location."""
    reader = ObjectReader(s3=_Gate(None, 1), bucket="b", names=("demand-forecast",))  # type: ignore[arg-type]  # two calls of it

    def is_refused(**more: str) -> bool:
        found = reader.prove({**METADATA, **more}, artifact_uri="s3://b/models/demand-forecast/one/model.tar.gz")
        return any("the gate's result" in problem and "is about" in problem for problem in found.problems)

    assert is_refused()
    assert not is_refused(source_binding="0" * 64)
    assert is_refused(source_binding="0" * 64, evaluation_sha256="1" * 64)
