"""Periodic maintenance of a store: compaction, and removal of unreferenced files and old keys."""

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise

import pyarrow.compute as pc
from pyiceberg.table import Table

from mlops_runtime.contracts.features import LEDGER_DAYS
from mlops_runtime.features.feature_group import INGEST_ID
from mlops_runtime.features.ingest_ledger import ledger_place, lost_index
from mlops_runtime.features.ledger_index import INDEX_FILES, of_rows
from mlops_runtime.features.source import DamagedFileError, IcebergRows, MissingFileError
from mlops_runtime.features.table_commits import steady
from mlops_runtime.features.table_compaction import compact, is_due
from mlops_runtime.features.table_description import FeatureTableError
from mlops_runtime.features.table_files import TableFile, listed, listed_below, put, remove_halves, unnamed

# younger files may be needed by a running writer
LITTER_AGE = timedelta(days=1)
_SWEPT = "swept"
_log = logging.getLogger("mlops.features")


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintained:
    """Result of maintaining a table."""

    table: str
    compacted: int  # number of files merged
    removed: int  # number of removed files that no snapshot referenced and that were older than a day
    forgotten: int  # number of expired idempotency keys removed


def maintain_each(
    names: Iterable[str],
    load: Callable[[str], Table],
    *,
    now: datetime,
    today: date,
    remove: Callable[[str], None],
    keeps_ledger: bool,
    writing: Callable[[Table], AbstractContextManager[None]],
) -> tuple[Maintained, ...]:
    """Maintain tables; a failure of one does not stop the others. ``writing`` announces a write to a table.

    Raises:
        FeatureTableError: If some tables could not be maintained; with every problem.
    """
    done, problems = [], []
    for name in names:
        try:
            table = load(name)
            with writing(table):
                done.append(maintain(table, now=now, today=today, remove=remove, keeps_ledger=keeps_ledger))
        except FeatureTableError as error:
            problems.append(str(error))
    if problems:
        raise FeatureTableError(f"{len(problems)} tables are not maintained: {'; '.join(problems)}")
    return tuple(done)


def maintain(
    table: Table, *, now: datetime, today: date, remove: Callable[[str], None], keeps_ledger: bool
) -> Maintained:
    """Maintain a table. Idempotent.

    Args:
        now: The time by the clock of the file storage.
        today: The day by the store's clock, which stamps ingests.
        remove: Removes a file.
        keeps_ledger: Whether old keys are not removed here, as in S3, where a lifecycle rule does.
    """
    compacted = compact(table, remove)
    _restore_index(table, today)
    return Maintained(
        table=table.name()[-1],
        compacted=compacted,
        removed=_sweep(table, now, remove),
        forgotten=0 if keeps_ledger else _forget(table, now, remove),
    )


def tend(table: Table, *, now: datetime, remove: Callable[[str], None]) -> None:
    """Perform the maintenance that is due after a commit to a local table: compaction after every eighth, and the rest once a day.

    The commit is complete: a missing or damaged file is only logged as a warning here, and an error in ``maintain``.
    """
    if not is_due(table):
        return
    try:
        compact(table, remove)
    except (DamagedFileError, MissingFileError) as error:
        _log.warning("table %s is not compacted: %s", table.name()[-1], error)
    mark = f"{ledger_place(table)}/{_SWEPT}"
    before = [file.written for file in listed_below(table, ledger_place(table)) if file.uri == mark]
    if before and now - before[0] < LITTER_AGE:
        return
    put(table, mark, now.isoformat().encode())
    _sweep(table, now, remove)
    _forget(table, now, remove)


def _sweep(table: Table, now: datetime, remove: Callable[[str], None]) -> int:
    # list files first: those committed in between are referenced by the state that is loaded afterwards
    old = [file for file in listed(table) if now - file.written > LITTER_AGE]
    if not old:
        return 0
    loose = steady(table, lambda: unnamed(table, old))
    for file in loose:
        remove(file.uri)
    return len(loose)


def _restore_index(table: Table, today: date) -> None:
    """Rebuild a missing or damaged index of the ledger from the ingest ids of the table's rows."""
    lost = lost_index(table, today)
    if lost is not None:
        _log.warning("%s; the index is rebuilt", lost)
        rows = IcebergRows(table.scan(selected_fields=(INGEST_ID,))).read([INGEST_ID])
        ids = {each for batch in rows for each in pc.unique(batch[INGEST_ID]).to_pylist()}
        of_rows(ids, today).write(table, lost.place)


def _forget(table: Table, now: datetime, remove: Callable[[str], None]) -> int:
    remove_halves(ledger_place(table))
    there = [file for file in listed_below(table, ledger_place(table)) if file.uri.endswith(".json")]
    old = [file for file in there if now - file.written > timedelta(days=LEDGER_DAYS)]
    for file in (*old, *_followed(there, now)):
        remove(file.uri)
    return sum(not _is_index(file) for file in old)


def _followed(files: Iterable[TableFile], now: datetime) -> list[TableFile]:
    """Return the indexes that were replaced more than a day ago: a writer that began before may still read them."""
    indexes = sorted(filter(_is_index, files), key=lambda file: file.written)
    return [file for file, after in pairwise(indexes) if now - after.written > LITTER_AGE]


def _is_index(file: TableFile) -> bool:
    return file.uri.rpartition("/")[2].startswith(INDEX_FILES)
