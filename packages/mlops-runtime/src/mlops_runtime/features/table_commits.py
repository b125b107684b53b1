"""Commits that are tried again until no other writer's comes first, with pauses that keep writers apart."""

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
# how pyiceberg reports that another commit has removed a snapshot which this one removes too, or builds on
_GONE = re.compile(r"Snapshot with snapshot id -?\d+ does not exist|Cannot find starting snapshot -?\d+")


class TableBusyError(FeatureTableError):
    """Other writers committed to a table first, again and again; nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a commit is tried, and how long writers wait: a random part of a pause that doubles, "full jitter".

    See: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/

    Args:
        tries: Tries at most.
        seconds: No further try begins later than this.
        first_pause: Longest pause after the first try, in seconds.
        longest_pause: Longest pause at all, in seconds.
        sleep: Waits.
        clock: Seconds that only grow.
        part: A number from 0 to 1, of which writers draw different ones.
    """

    tries: int = 30
    seconds: float = 60.0
    first_pause: float = 0.02
    longest_pause: float = 2.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    part: Callable[[], float] = random.random


RETRIES = Retries()


def committed(table: Table, attempt: Callable[[Table], T], *, retries: Retries | None = None) -> T:
    """Run ``attempt`` on the newest state of a table until its commit is not overtaken by another writer's.

    pyiceberg's own retries put the same change on top of a state that was not checked, so a check made before the first try
    says nothing about the last. Here they are off, and ``attempt`` sees the state that it commits to.

    Args:
        table: The table.
        attempt: Commits to the state that it is given.
        retries: How often it is tried. Default: ``RETRIES``.

    Raises:
        TableBusyError: If each try was overtaken.
        FileNotFoundError: If a file of the table is missing, and no other commit took it.
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
                    f"table {table.name()[-1]} is busy: {tries} tries in {waited:.0f} s were overtaken by other writers "
                    f"(allowed are {bounds.tries} tries and {bounds.seconds:.0f} s); write again when fewer write at once"
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
    return isinstance(error, CommitFailedException) or _GONE.match(str(error)) is not None


def steady(table: Table, look: Callable[[], T]) -> T:
    """Read the newest state of a table, again if it was replaced or files of it went meanwhile.

    Args:
        table: The table.
        look: Reads the state that the table then has.

    Raises:
        CommitFailedException: If it was replaced each time.
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
    """Read the newest state of a table, whose commits pyiceberg then tries once.

    Raises:
        CommitFailedException: If it was replaced while it was read.
    """
    try:
        with missing_as_such():
            table.refresh()
    except FileNotFoundError as error:
        # the catalog named a metadata file that later commits have removed since
        raise CommitFailedException(f"the state of {table.name()[-1]} was replaced while it was read") from error
    # only this object changes: the catalog applies updates to the metadata that it holds itself
    table.metadata = table.metadata.model_copy(
        update={"properties": {**table.metadata.properties, "commit.retry.num-retries": "0"}}
    )
