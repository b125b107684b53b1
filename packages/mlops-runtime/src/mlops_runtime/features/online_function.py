"""The function that publishes online rows: for each table that an event names, the rows above its mark.

This module does not import duckdb, so a function with only pyarrow and pyiceberg can run it.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyiceberg.table import Table

from mlops_runtime.features.feature_group import FeatureGroup
from mlops_runtime.features.group_json import read_declaration
from mlops_runtime.features.online_publication import Publication, publish_new
from mlops_runtime.features.online_store import OnlineStore
from mlops_runtime.features.table_catalog import Tables
from mlops_runtime.lambda_protocol import Message

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_log = logging.getLogger("mlops.features")


class IngestEventError(ValueError):
    """A message does not name a table that this store publishes; it goes to the dead-letter queue."""


class OnlinePublisher:
    """Publish the rows of announced ingests.

    Args:
        groups: The groups that are online.
        load: Loads the current state of a table by name.
        online: The online store.
    """

    def __init__(self, groups: Sequence[FeatureGroup], *, load: Callable[[str], Table], online: OnlineStore) -> None:
        self._groups = {group.table_name: group for group in groups}
        self._load, self._online = load, online

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], folder: Path, *, dynamodb: "DynamoDBClient"
    ) -> "OnlinePublisher":
        """Read the construct's settings: database, online table and declaration.

        Args:
            environment: Environment of the process.
            folder: Folder of the file ``DECLARATION``.
            dynamodb: Client.
        """
        tables = Tables.glue(environment["DATABASE"], environment)
        return cls(
            read_declaration((folder / environment["DECLARATION"]).read_text()),
            load=tables.load,
            online=OnlineStore(dynamodb, table=environment["ONLINE_TABLE"]),
        )

    def handle(self, message: Message) -> Publication:
        """Publish the table that ``MLOps Features Ingested`` names; the table itself determines which rows are new.

        Args:
            message: The event as an SQS message; its time decides which rows are visible.

        Raises:
            IngestEventError: If the event does not name a group that is online.
            OnlineStoreError: If rows cannot be published; the message is redelivered and publication continues.
        """
        try:
            table = str(json.loads(message.body)["detail"]["subject"])
        except (ValueError, KeyError, TypeError) as error:
            raise IngestEventError(f"the message does not name a table: {message.body[:200]!r}") from error
        group = self._groups.get(table)
        if group is None:
            raise IngestEventError(f"table must be one of {', '.join(sorted(self._groups))}, got {table!r}")
        done = publish_new(lambda: self._load(table), group, self._online, now=message.sent)
        assert done is not None  # noqa: S101 - no limit of rows is set here
        told = {"table": table, "written": done.published.written, "kept": done.published.kept}
        _log.info(json.dumps({**told, "not_visible": done.published.not_visible, "sequence": done.sequence}))
        return done
