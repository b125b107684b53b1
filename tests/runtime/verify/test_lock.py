"""The lock: one holder, renewed while it works, taken over only from a killed run."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from mlops_runtime.verify.account import Names
from mlops_runtime.verify.lock import HOLDS, RENEWS, Lock
from mlops_runtime.verify.problems import LostLockError, VerifyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_local.cloud import Cloud

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
COMMAND = "mlops verify --clean --region us-east-1"
_number = itertools.count(1)


@pytest.fixture
def lock(cloud: Cloud) -> Callable[[str], Lock]:
    """Return locks of one name by run."""
    name = f"/lock-{next(_number)}"
    names = Names(unit="verify-abc123", stack="s", bucket="b", lock=name)
    return lambda run: Lock(cloud.client("ssm"), names, run)


def test_the_second_is_refused_and_told_of_the_first(lock: Callable[[str], Lock]) -> None:
    """The second caller is rejected until the lock is released."""
    first, second = lock("r1"), lock("r2")
    first.acquire(NOW, command=COMMAND)

    with pytest.raises(VerifyError, match=r"run r1\) holds this account.*if it was killed.*--clean"):
        second.acquire(NOW + HOLDS - timedelta(seconds=1), command=COMMAND)
    with pytest.raises(VerifyError, match=r"run r1\) .*was killed; remove what it left with: mlops verify --clean"):
        second.acquire(NOW + HOLDS, command=COMMAND)
    second.release()
    assert first.holder() is not None
    first.release()
    assert first.holder() is None
    second.acquire(NOW, command=COMMAND)


def test_a_look_takes_nothing(lock: Callable[[str], Lock]) -> None:
    """It fails like ``acquire`` before anything is prepared."""
    first, second = lock("r1"), lock("r2")
    second.check(NOW, command=COMMAND)
    first.acquire(NOW, command=COMMAND)

    with pytest.raises(VerifyError, match=r"run r1\) holds this account"):
        second.check(NOW, command=COMMAND)
    with pytest.raises(VerifyError, match="was killed; remove what it left with"):
        second.check(NOW + HOLDS, command=COMMAND)


def test_a_holder_that_works_stays_fresh(lock: Callable[[str], Lock]) -> None:
    """The holder renews the lock at intervals only."""
    first = lock("r1")
    first.renew(NOW)
    assert first.holder() is None
    first.acquire(NOW, command=COMMAND)
    first.renew(NOW + RENEWS - timedelta(seconds=1))
    before = first.holder()
    assert before is not None
    assert not before.is_fresh(NOW + HOLDS)
    first.renew(NOW + RENEWS)
    after = first.holder()
    assert after is not None
    assert after.is_fresh(NOW + HOLDS)
    assert after.since == before.since


def test_a_holder_that_was_taken_over_stops(lock: Callable[[str], Lock]) -> None:
    """It must not remove another run's resources."""
    first, second = lock("r1"), lock("r2")
    first.acquire(NOW, command=COMMAND)
    second.take_over(NOW + HOLDS)

    with pytest.raises(LostLockError, match="run r2 does"):
        first.renew(NOW + HOLDS)
    holder = second.holder()
    assert holder is not None
    assert holder.run == "r2"
    second.release()
    with pytest.raises(LostLockError, match="no run does"):
        first.renew(NOW + HOLDS)
    second.acquire(NOW, command=COMMAND)
    first.release()
    assert second.holder() is not None


def test_a_lock_that_cannot_be_read_is_of_a_killed_run(cloud: Cloud, lock: Callable[[str], Lock]) -> None:
    """Its content is invalid."""
    first = lock("r1")
    first.acquire(NOW, command=COMMAND)
    cloud.client("ssm").put_parameter(Name=first._names.lock, Value="hello", Type="String", Overwrite=True)

    with pytest.raises(VerifyError, match=r"run unknown.*was killed"):
        lock("r2").acquire(NOW, command=COMMAND)
