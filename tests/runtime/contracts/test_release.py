"""Release records: every object by size and hash, and rejected shapes."""

from collections.abc import Callable
from typing import Any

import pytest

from mlops_runtime.contracts import canonical_json, from_dict, from_json
from mlops_runtime.contracts.release import ReleaseRecord


def test_a_record_reads_back_and_lists_what_is_copied(example: Callable[..., dict[str, Any]]) -> None:
    """The gate's result is one of its objects, if there is one."""
    record = from_dict(ReleaseRecord, example("ReleaseRecord"))

    assert from_json(ReleaseRecord, canonical_json(record)) == record
    assert [each.uri.rpartition("/")[2] for each in record.objects] == [
        "model.tar.gz",
        "evaluation.json",
        "baseline.json",
        "alarm-1.json",
    ]
    assert len(from_dict(ReleaseRecord, example("ReleaseRecord", gate=...)).objects) == 3


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("artifact.size", "12", "size"),
        ("artifact.sha256", ..., "sha256"),
        ("audit_sequence", 1.5, "audit_sequence"),
        ("format", "mlops.release/2", "format"),
        ("package", None, "package"),
    ],
)
def test_another_shape_is_refused(
    example: Callable[..., dict[str, Any]],
    refusal: Callable[[type, object], str],
    field: str,
    value: object,
    named: str,
) -> None:
    """By the JSON schema and by the codec."""
    assert named in refusal(ReleaseRecord, example("ReleaseRecord", **{field: value}))
