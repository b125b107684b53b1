"""Number of rows that an ingest appended, from the summary of the Iceberg snapshot that it committed.

See: https://iceberg.apache.org/spec/#optional-snapshot-summary-fields
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlops_runtime.features.table_freshness import read_metadata

if TYPE_CHECKING:
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_s3 import S3Client

KEY_HASH = "mlops.idempotency-key-sha256"  # property of the summary, written by ``features/ingest_ledger.py``


class IngestedRows:
    """Counts rows of ingests into the tables of a Glue database.

    Args:
        glue: Client, to find a table's metadata file.
        s3: Client, to read the file.
        database: Name of the database.
    """

    def __init__(self, *, glue: "GlueClient", s3: "S3Client", database: str) -> None:
        self._glue, self._s3, self._database = glue, s3, database

    def __call__(self, table: str, ingest: str) -> int | None:
        """Return the number of rows that an ingest appended; None if the table has no snapshot of it."""
        return rows_of(read_metadata(self._database, table, self._glue, self._s3), ingest)


def rows_of(metadata: Mapping[str, Any], ingest: str) -> int | None:
    """Return the number of rows that an ingest appended, from a table's metadata; None without a snapshot of the ingest.

    Args:
        metadata: The table's metadata file.
        ingest: Id of the ingest: the beginning of its idempotency key's SHA-256.
    """
    for snapshot in metadata.get("snapshots") or ():
        summary = snapshot.get("summary") or {}
        if str(summary.get(KEY_HASH, "")).startswith(ingest):
            return int(summary["added-records"])
    return None
