"""Commits that are retried on conflicts with other writers, with randomized backoff."""

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.table import Table

from mlops_runtime.features.table_description import FeatureTableError
from mlops_runtime.features.table_files import missing_as_such

T = TypeVar("T")
_READINGS = 8
# pyiceberg's errors when another commit has removed a snapshot that this one also removes, or is based on
_EXPIRED = re.compile(r"Snapshot with snapshot id -?\d+ does not exist|Cannot find starting snapshot -?\d+")


class TableBusyError(FeatureTableError):
    """Every attempt to commit to a table conflicted with other writers; nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """Limits of retries, and their backoff: random parts of a doubling pause, "full jitter".

    See: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    tries: int = 30  # maximum number of attempts
    seconds: float = 60.0  # time after which no further attempt begins
    first_pause: float = 0.02  # longest pause after the first attempt, in seconds
    longest_pause: float = 2.0  # longest pause, in seconds
    sleep: Callable[[float], None] = time.sleep  # waits
    clock: Callable[[], float] = time.monotonic  # monotonic clock, in seconds
    part: Callable[[], float] = random.random  # random number from 0 to 1


RETRIES = Retries()


def committed(table: Table, attempt: Callable[[Table], T], *, retries: Retries | None = None) -> T:
    """Run ``attempt`` on the newest state of a table until its commit does not conflict with another writer's.

    pyiceberg's own retries apply a change to a newer state that was not checked, so a check before the first attempt would not hold
    for the last. They are disabled here, and ``attempt`` sees the state that its commit is based on.

    Raises:
        TableBusyError: If every attempt conflicted.
        FileNotFoundError: If a file of the table is missing that no other commit removed.
    """
    bounds = RETRIES if retries is None else retries
    started, tries = bounds.clock(), 0
    while True:
        tries += 1
        try:
            refresh(table)
            with missing_as_such():
                return attempt(table)
        except (CommitFailedException, ValidationException, ValueError, FileNotFoundError) as error:
            if not _is_overtaken(table, error):
                raise
            waited = bounds.clock() - started
            if tries >= bounds.tries or waited >= bounds.seconds:
                raise TableBusyError(
                    f"table {table.name()[-1]} is busy: {tries} tries in {waited:.0f} s conflicted with other writers "
                    f"(allowed are {bounds.tries} tries and {bounds.seconds:.0f} s); write again with fewer concurrent writers"
                ) from error
        bounds.sleep(bounds.part() * min(bounds.longest_pause, bounds.first_pause * 2 ** (tries - 1)))


def _is_overtaken(table: Table, error: Exception) -> bool:
    if isinstance(error, FileNotFoundError):
        known = table.metadata_location
        try:
            steady(table, lambda: None)
        except CommitFailedException:
            return True
        return table.metadata_location != known
    return isinstance(error, CommitFailedException) or _EXPIRED.match(str(error)) is not None


def steady(table: Table, look: Callable[[], T]) -> T:
    """Read the newest state of a table, again if it was replaced or files of it were removed meanwhile.

    Raises:
        CommitFailedException: If the state was replaced each time.
        FileNotFoundError: If files were missing each time.
    """
    for tries_left in reversed(range(_READINGS)):
        try:
            refresh(table)
            with missing_as_such():
                return look()
        except (CommitFailedException, FileNotFoundError):
            if not tries_left:
                raise
    raise AssertionError("unreachable")


def refresh(table: Table) -> None:
    """Load the newest state of a table, and disable pyiceberg's retries of its commits.

    Raises:
        CommitFailedException: If the state was replaced while it was read.
    """
    try:
        with missing_as_such():
            table.refresh()
    except FileNotFoundError as error:
        # the catalog returned a metadata file that later commits have removed since
        raise CommitFailedException(f"the state of {table.name()[-1]} was replaced while it was read") from error
    # changes only this object: the catalog applies updates to its own metadata
    table.metadata = table.metadata.model_copy(
        update={"properties": {**table.metadata.properties, "commit.retry.num-retries": "0"}}
    )
