"""The training-set manifest, and the report of a rejected batch."""

from collections.abc import Callable
from typing import Any

import pytest

from mlops_runtime.contracts import content_hash, from_dict, to_dict
from mlops_runtime.contracts.events import features_rejected
from mlops_runtime.contracts.features import PinnedTable, RejectedBatch, Semantics, TrainingSetManifest

EXAMPLE_ID = "68bde30acdfa4956f6ac4cc0d7e2ec11673c5000be3da8580a873cc95251b1ca"


def test_the_id_of_a_stored_manifest_never_changes(example: Callable[..., Any]) -> None:
    """Packages and audit records reference training sets by it, so another hash would orphan them."""
    assert content_hash(from_dict(TrainingSetManifest, example("TrainingSetManifest"))) == EXAMPLE_ID


@pytest.mark.parametrize(
    "changes",
    [
        {"entities.snapshot_id": 3051729675574597005},
        {"semantics.cutoff": "2017-08-01T09:00:01Z"},
        {"output.files.0.sha256": "7" * 64},
        {"features.0.columns": ["week", "store_id", "units"]},
        {"build.engine_version": "1.5.1"},
        {"split.holdout_from": "2017-07-05T00:00:00Z"},
    ],
)
def test_any_difference_gives_another_id(changes: dict[str, Any], example: Callable[..., Any]) -> None:
    """Covers snapshot, cutoff, file, column order, engine and split."""
    assert content_hash(from_dict(TrainingSetManifest, example("TrainingSetManifest", **changes))) != EXAMPLE_ID


def test_snapshot_ids_keep_all_their_bits(example: Callable[..., Any]) -> None:
    """Iceberg's ids are 64-bit integers, which a double would change."""
    manifest = from_dict(TrainingSetManifest, example("TrainingSetManifest"))

    assert manifest.entities.snapshot_id == 3051729675574597004 != int(float(3051729675574597004))
    assert to_dict(manifest)["entities"]["snapshot_id"] == 3051729675574597004


def test_defaults_of_what_an_older_writer_left_out(example: Callable[..., Any]) -> None:
    """Ties are broken by the time of writing, then by ingest; no time to live, no split."""
    manifest = from_dict(
        TrainingSetManifest, example("TrainingSetManifest", split=..., **{"semantics.tie_break": ..., "format": ...})
    )

    assert manifest.semantics == Semantics(as_of="known_at", cutoff="2017-08-01T09:00:00Z")
    assert manifest.semantics.tie_break == ("created_time", "ingest_id")
    assert (manifest.split, manifest.entities.ttl_seconds, manifest.output.order_by) == ({}, None, "row_id")
    assert manifest.format == "mlops.training-set/1"


def test_a_pinned_table_keeps_its_time_to_live(example: Callable[..., Any]) -> None:
    """Entities and time to live are written if known."""
    pinned = {**example("TrainingSetManifest")["entities"], "entities": ["store_id"], "ttl_seconds": 86400}

    table = from_dict(PinnedTable, pinned)

    assert (table.entities, table.ttl_seconds) == (("store_id",), 86400)
    assert to_dict(table) == pinned


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"semantics.as_of": "now"}, "$.semantics.as_of must be one of 'known_at', 'event_time', got 'now'"),
        ({"semantics.cutoff": ...}, "$.semantics.cutoff is missing"),
        ({"entities.snapshot_id": "3051"}, "$.entities.snapshot_id must be an integer, got '3051'"),
        ({"entities.sequence": ...}, "$.entities.sequence is missing"),
        ({"entities.version": True}, "$.entities.version must be an integer, got True"),
        ({"features": {}}, "$.features must be an array, got {}"),
        ({"features.0.tag": ...}, "$.features[0].tag is missing"),
        ({"output.files.0.sha256": ...}, "$.output.files[0].sha256 is missing"),
        ({"output.rows": 10.5}, "$.output.rows must be an integer, got 10.5"),
        ({"output.columns": {"price": None}}, "$.output.columns.price must be a string, got None"),
        ({"build": "duckdb"}, "$.build must be an object, got 'duckdb'"),
        (
            {"format": "mlops.training-set/2"},
            "$.format must be one of 'mlops.training-set/1', got 'mlops.training-set/2'",
        ),
    ],
)
def test_fails_on_a_manifest_that_proves_nothing(
    changes: dict[str, Any], message: str, example: Callable[..., Any], refusal: Callable[..., str]
) -> None:
    """Each missing or mistyped pin is named with its path."""
    document = example("TrainingSetManifest", **changes)

    assert refusal(TrainingSetManifest, document) == f"not a valid TrainingSetManifest: {message}"


def test_report_and_event_name_the_same_batch(example: Callable[..., Any]) -> None:
    """The reader of the event finds object and report."""
    report = from_dict(RejectedBatch, example("RejectedBatch"))

    done = features_rejected(
        report.table, reason=report.problems[0], uri=report.uri, report_uri="s3://b/rejected/x.json", rejection_id="r"
    )

    assert (done.subject, done.outcome, done.attributes["uri"]) == (report.table, "REJECTED", report.uri)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"problems": "all"}, "$.problems must be an array, got 'all'"),
        ({"etag": ...}, "$.etag is missing"),
        ({"bytes": "many"}, "$.bytes must be an integer, got 'many'"),
        ({"format": "mlops.rejected-batch/2"}, "$.format must be one of 'mlops.rejected-batch/1', got 'mlops.rejected-batch/2'"),
    ],
)  # fmt: skip
def test_fails_on_what_is_no_report(
    changes: dict[str, Any], message: str, example: Callable[..., Any], refusal: Callable[..., str]
) -> None:
    """Problems are a list, and another major version is rejected."""
    assert refusal(RejectedBatch, example("RejectedBatch", **changes)) == f"not a valid RejectedBatch: {message}"
