"""The index of a ledger: its keys and their retention."""

from datetime import date, timedelta

import pytest

from mlops_runtime.features.ledger_index import REMEMBERED, LedgerIndex, of_rows

KEY, OTHER = "a" * 64, "b" * 64
DAY = date(2017, 1, 2)


def at(days):
    """Return a time the given days after the first."""
    return f"{(DAY + timedelta(days=days)).isoformat()}T23:59:59+00:00"


@pytest.mark.parametrize(("days", "is_present"), [(0, True), (REMEMBERED.days, True), (REMEMBERED.days + 1, False)])
def test_a_key_leaves_after_ninety_days(days, is_present):
    """Counted from the newest ingest, so that two writers make the same index from the same state."""
    index = LedgerIndex().plus({KEY: at(0)}).plus({OTHER: at(days)})

    assert index.day_of(OTHER) == DAY + timedelta(days=days)
    assert (index.day_of(KEY) == DAY) is is_present


def test_the_name_says_the_newest_day_and_the_content():
    """Equal keys have the same name, others another."""
    index = LedgerIndex().plus({KEY: at(0), OTHER: at(3)})

    assert index.name.startswith("index-2017-01-05-")
    assert index.name == LedgerIndex().plus({OTHER: at(3)}).plus({KEY: at(0)}).name
    assert index.name != LedgerIndex().plus({OTHER: at(3)}).name


def test_ids_of_rows_say_the_keys():
    """Ids of ingests end with the first digits of the key's hash."""
    index = of_rows([f"0000000000000000007-{KEY[:16]}"], DAY)

    assert (index.day_of(KEY), index.day_of(OTHER)) == (DAY, None)
