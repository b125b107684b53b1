"""How many rows an ingest appended, as the feature table itself says it: the summary of the snapshot that the ingest committed.

See: https://iceberg.apache.org/spec/#optional-snapshot-summary-fields
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlops_runtime.features.table_freshness import read_metadata

if TYPE_CHECKING:
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_s3 import S3Client

KEY_HASH = "mlops.idempotency-key-sha256"  # of the summary, as ``features/ingest_ledger.py`` writes it


class IngestedRows:
    """Rows of ingests into the tables of a Glue database.

    Args:
        glue: Client; finds a table's metadata file.
        s3: Client; reads the file.
        database: Name of the database.
    """

    def __init__(self, *, glue: "GlueClient", s3: "S3Client", database: str) -> None:
        self._glue, self._s3, self._database = glue, s3, database

    def __call__(self, table: str, ingest: str) -> int | None:
        """Return how many rows an ingest appended; None if the table has no snapshot of it."""
        return rows_of(read_metadata(self._database, table, self._glue, self._s3), ingest)


def rows_of(metadata: Mapping[str, Any], ingest: str) -> int | None:
    """Return how many rows an ingest appended by a table's metadata; None if no snapshot is its.

    Args:
        metadata: The table's metadata file.
        ingest: Id of the ingest: the beginning of its idempotency key's SHA-256.
    """
    for snapshot in metadata.get("snapshots") or ():
        summary = snapshot.get("summary") or {}
        if str(summary.get(KEY_HASH, "")).startswith(ingest):
            return int(summary["added-records"])
    return None
