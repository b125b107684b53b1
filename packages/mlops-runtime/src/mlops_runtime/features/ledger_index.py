"""Index of the keys whose objects a table's ledger must have, to notice a lost object before its batch is written again.

A commit that moves keys from summaries into the ledger first writes an index of all keys in the ledger. The summary of its
snapshot, and of later ones, has the index file's name: concurrent writers write files of different names, and the committed state
decides which counts. The index stores the first 16 digits of a key's hash. The batch's ingest ids end with the same digits, so a
lost index can be rebuilt from the rows. Keys are dropped 90 days after their ingest, before lifecycle rules may remove their
objects.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from pyiceberg.table import Table

from mlops_runtime.features.table_description import FeatureTableError
from mlops_runtime.features.table_files import put

REMEMBERED = timedelta(days=90)
INDEX_FILES = "index-"
DIGITS = 16


class LostLedgerError(FeatureTableError):
    """A ledger file is missing or damaged; no batch was written. ``place`` is the location of the file."""

    def __init__(self, message: str, place: str) -> None:
        super().__init__(message)
        self.place = place


@dataclass(frozen=True, slots=True)
class LedgerIndex:
    """Days of ingests, with the keys whose objects the ledger has.

    Example:
        >>> index = LedgerIndex().plus({"a" * 64: "2017-01-02T08:00:00+00:00", "b" * 64: "2017-05-02T08:00:00+00:00"})
        >>> index.day_of("b" * 64), index.day_of("a" * 64)
        (datetime.date(2017, 5, 2), None)
    """

    days: Mapping[date, frozenset[str]] = field(default_factory=dict)

    def plus(self, keys: Mapping[str, str]) -> "LedgerIndex":
        """Return the index with further key hashes and times of ingest, without days more than 90 days before the newest."""
        days = {day: set(there) for day, there in self.days.items()}
        for key, at in keys.items():
            days.setdefault(datetime.fromisoformat(at).date(), set()).add(key[:DIGITS])
        oldest = max(days) - REMEMBERED
        return LedgerIndex({day: frozenset(there) for day, there in days.items() if day >= oldest})

    def day_of(self, key_hash: str) -> date | None:
        """Return the day on which a key was ingested, if the ledger must have its object."""
        return next((day for day, there in self.days.items() if key_hash[:DIGITS] in there), None)

    @property
    def name(self) -> str:
        """Name of the index's file, which contains the newest day."""
        digest = hashlib.sha256(self._bytes()).hexdigest()
        return f"{INDEX_FILES}{max(self.days).isoformat()}-{digest[:DIGITS]}.json"

    def write(self, table: Table, place: str) -> None:
        """Write the index to a file."""
        put(table, place, self._bytes())

    def _bytes(self) -> bytes:
        return json.dumps({day.isoformat(): sorted(self.days[day]) for day in sorted(self.days)}).encode()


def of_rows(ids: Iterable[str], day: date) -> LedgerIndex:
    """Return the index of the ingests with these row ids, all on one day.

    Example:
        >>> of_rows(["0000000000000000007-" + "a" * 16], date(2017, 5, 2)).day_of("a" * 64)
        datetime.date(2017, 5, 2)
    """
    return LedgerIndex({day: frozenset(each.rpartition("-")[2] for each in ids)})


def read_index(table: Table, place: str, today: date) -> LedgerIndex:
    """Read an index; one whose keys have all expired is empty, even if its file is missing.

    Raises:
        LostLedgerError: If the file is missing or damaged.
    """
    newest = date.fromisoformat(place.rpartition("/")[2].removeprefix(INDEX_FILES)[:10])
    if newest < today - REMEMBERED:
        return LedgerIndex()
    try:
        with table.io.new_input(place).open() as file:
            stored = json.loads(file.read())
        index = LedgerIndex({date.fromisoformat(day): frozenset(keys) for day, keys in stored.items()})
    except FileNotFoundError as error:
        raise LostLedgerError(_lost(table, place, "is missing"), place) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise LostLedgerError(_lost(table, place, f"is damaged ({error})"), place) from error
    return index


def _lost(table: Table, place: str, what: str) -> str:
    return (
        f"index of the ledger of {table.name()[-1]} {what}: {place}; without it a batch could be written twice. No batch was "
        "written. Restore the file from a backup or a version of the bucket, or run `mlops features maintain`, which rebuilds "
        "it from the rows of the table"
    )
