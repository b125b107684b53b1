"""Entity rows and three feature tables with late and restated rows, derived from hashes of row numbers."""

from dataclasses import dataclass
from pathlib import Path

import duckdb

TABLES = 3
VALUES = 3
DAYS = 90
TTL_DAYS = 30
_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Size:
    """Number of entity rows, rows per table, keys, and days."""

    entities: int
    rows: int
    keys: int
    days: int = DAYS


SIZES = {
    "S": Size(100_000, 1_000_000, 100_000),
    "M": Size(300_000, 3_000_000, 30_000),
    "L": Size(1_000_000, 10_000_000, 100_000),
    "deep": Size(100_000, 1_000_000, 1_000),  # 1,000 rows per key
    "long": Size(100_000, 1_000_000, 10_000),  # entity rows of the last 90 days, over a history of 90 days
    "longer": Size(100_000, 10_000_000, 10_000, days=900),  # and of 900
    "ingest": Size(1, 1_000_000, 100_000),
}


def features(table: int) -> list[str]:
    """Return the names of a table's columns of values."""
    return [f"f{table}_{i}" for i in range(VALUES)]


def make(size: Size, folder: Path) -> Path:
    """Write ``entity.parquet`` and ``feature<k>.parquet`` if missing.

    5 % of the rows arrive up to two days late, 1 % restate another with its key and event time; 1 % of the entity rows have
    an unknown key. Times are microseconds in UTC; batches are days of arrival.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
        if not (folder / "entity.parquet").exists():
            connection.execute(_entity(size, folder / "entity.parquet"))
        for k in range(TABLES):
            if not (folder / f"feature{k}.parquet").exists():
                connection.execute(_feature(size, k, folder / f"feature{k}.parquet"))
    return folder


def _entity(size: Size, path: Path) -> str:
    moment = f"make_timestamptz(1483228800000000 + (({size.days} - {DAYS}) * {_DAY} + hash(i, 'at') % {DAYS * _DAY})::bigint)"
    user = f"case when hash(i, 'unknown') % 100 = 0 then -1 else (hash(i, 'user') % {size.keys})::bigint end"
    return (
        f"copy (select i as row_id, {user} as user_id, {moment} as event_timestamp from range({size.entities}) t(i)) "  # noqa: S608
        f"to '{path}' (format parquet, compression zstd)"
    )


def _feature(size: Size, k: int, path: Path) -> str:
    # a restatement has the key and event time of the seventh row before it, and arrives up to two days after it
    values = ", ".join(f"(hash(i, 'v{k}{n}') % 1000000) / 1000.0 as {name}" for n, name in enumerate(features(k)))
    return f"""
        copy (
            with base as (
                select i, case when hash(i, 'again{k}') % 100 = 0 and i >= 7 then i - 7 else i end as source,
                    hash(i, 'late{k}') % 100 < 5 as late, hash(i, 'delay{k}') % {2 * _DAY} as delay from range({size.rows}) t(i)
            ), timed as (
                select *, (hash(source, 'user{k}') % {size.keys})::bigint as user_id,
                    1483228800000000 + (hash(source, 'event{k}') % {size.days * _DAY})::bigint as event from base
            ), known as (
                select *, event + case when source <> i or late then 1 + delay::bigint else 0 end as created from timed
            )
            select user_id, make_timestamptz(event) as event_time, make_timestamptz(created) as created_time,
                lpad((created // {_DAY})::varchar, 19, '0') || '-' || left(md5((created // {_DAY})::varchar), 16) as ingest_id,
                {values} from known order by created
        ) to '{path}' (format parquet, compression zstd)
        """  # noqa: S608
