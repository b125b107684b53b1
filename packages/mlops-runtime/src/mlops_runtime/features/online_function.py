"""The function that publishes online rows: of each table that an event names, everything above its mark.

Nothing here imports duckdb: a function with pyarrow and pyiceberg alone runs it.
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
    """A message names no table that this store publishes; it belongs to the dead letters."""


class OnlinePublisher:
    """Publish what ingests announce.

    Args:
        groups: The groups that are online.
        load: Loads a table by name, as it is now.
        online: The online store.
    """

    def __init__(self, groups: Sequence[FeatureGroup], *, load: Callable[[str], Table], online: OnlineStore) -> None:
        self._groups = {group.table_name: group for group in groups}
        self._load, self._online = load, online

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], folder: Path, *, dynamodb: "DynamoDBClient"
    ) -> "OnlinePublisher":
        """Read what the construct says: database, online table and declaration.

        Args:
            environment: The process's.
            folder: Where the file ``DECLARATION`` is.
            dynamodb: Client.
        """
        tables = Tables.glue(environment["DATABASE"], environment)
        return cls(
            read_declaration((folder / environment["DECLARATION"]).read_text()),
            load=tables.load,
            online=OnlineStore(dynamodb, table=environment["ONLINE_TABLE"]),
        )

    def handle(self, message: Message) -> Publication:
        """Publish the table that ``MLOps Features Ingested`` names; how many rows are new says the table itself.

        Args:
            message: The event as SQS carries it; its time is the time at which rows are visible or not.

        Raises:
            IngestEventError: If the event names no group that is online.
            OnlineStoreError: If rows cannot be published; the message comes again, and goes on from there.
        """
        try:
            table = str(json.loads(message.body)["detail"]["subject"])
        except (ValueError, KeyError, TypeError) as error:
            raise IngestEventError(f"a message names no table: {message.body[:200]!r}") from error
        group = self._groups.get(table)
        if group is None:
            raise IngestEventError(f"table must be one of {', '.join(sorted(self._groups))}, got {table!r}")
        done = publish_new(lambda: self._load(table), group, self._online, now=message.sent)
        assert done is not None  # noqa: S101 - any number of rows is published here
        told = {"table": table, "written": done.published.written, "kept": done.published.kept}
        _log.info(json.dumps({**told, "not_visible": done.published.not_visible, "sequence": done.sequence}))
        return done
