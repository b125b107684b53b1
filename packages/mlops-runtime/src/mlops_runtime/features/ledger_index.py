"""Which keys the ledger of a table must hold an object of: a lost object is noticed before its batch is written again.

A commit that moves keys from summaries into the ledger first writes an index of all keys that lie there. The summary of its
snapshot names the file, and so do those of later ones: writers that race write files of different names, and the state that was
committed says which one counts. A key is the first 16 digits of its hash, with which the ids of the batch's rows end, so that the
rows of the table can give a lost index back. Keys leave 90 days after their ingest, before a lifecycle may take their objects.
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
    """A file is missing, or damaged, that says which batches a table has; no batch was written. ``place`` is where it lay."""

    def __init__(self, message: str, place: str) -> None:
        super().__init__(message)
        self.place = place


@dataclass(frozen=True, slots=True)
class LedgerIndex:
    """Days of ingests, each with the keys whose objects the ledger holds.

    Example:
        >>> index = LedgerIndex().plus({"a" * 64: "2017-01-02T08:00:00+00:00", "b" * 64: "2017-05-02T08:00:00+00:00"})
        >>> index.day_of("b" * 64), index.day_of("a" * 64)
        (datetime.date(2017, 5, 2), None)
    """

    days: Mapping[date, frozenset[str]] = field(default_factory=dict)

    def plus(self, keys: Mapping[str, str]) -> "LedgerIndex":
        """Return the index with hashes of keys, each with the time of its ingest, without what is 90 days older than the newest."""
        days = {day: set(there) for day, there in self.days.items()}
        for key, at in keys.items():
            days.setdefault(datetime.fromisoformat(at).date(), set()).add(key[:DIGITS])
        oldest = max(days) - REMEMBERED
        return LedgerIndex({day: frozenset(there) for day, there in days.items() if day >= oldest})

    def day_of(self, key_hash: str) -> date | None:
        """Return the day on which a key was ingested, if the ledger must hold its object."""
        return next((day for day, there in self.days.items() if key_hash[:DIGITS] in there), None)

    @property
    def name(self) -> str:
        """Name of its file, with the newest day in it."""
        digest = hashlib.sha256(self._bytes()).hexdigest()
        return f"{INDEX_FILES}{max(self.days).isoformat()}-{digest[:DIGITS]}.json"

    def write(self, table: Table, place: str) -> None:
        """Write it to a file."""
        put(table, place, self._bytes())

    def _bytes(self) -> bytes:
        return json.dumps({day.isoformat(): sorted(self.days[day]) for day in sorted(self.days)}).encode()


def of_rows(ids: Iterable[str], day: date) -> LedgerIndex:
    """Return the index of ingests whose rows a table has, by the ids of the rows.

    Example:
        >>> of_rows(["0000000000000000007-" + "a" * 16], date(2017, 5, 2)).day_of("a" * 64)
        datetime.date(2017, 5, 2)
    """
    return LedgerIndex({day: frozenset(each.rpartition("-")[2] for each in ids)})


def read_index(table: Table, place: str, today: date) -> LedgerIndex:
    """Read an index; one whose keys may all be forgotten is empty, whether its file is still there or not.

    Raises:
        LostLedgerError: If the file is missing, or is not what was written.
    """
    newest = date.fromisoformat(place.rpartition("/")[2].removeprefix(INDEX_FILES)[:10])
    if newest < today - REMEMBERED:
        return LedgerIndex()
    try:
        with table.io.new_input(place).open() as file:
            said = json.loads(file.read())
        index = LedgerIndex({date.fromisoformat(day): frozenset(keys) for day, keys in said.items()})
    except FileNotFoundError as error:
        raise LostLedgerError(_lost(table, place, "is missing"), place) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise LostLedgerError(_lost(table, place, f"is damaged ({error})"), place) from error
    return index


def _lost(table: Table, place: str, what: str) -> str:
    return (
        f"index of the ledger of {table.name()[-1]} {what}: {place}; without it a batch could be written twice. No batch was "
        "written. Restore the file from a backup or a version of the bucket, or run `mlops features maintain`, which makes it "
        "again from the rows of the table"
    )
