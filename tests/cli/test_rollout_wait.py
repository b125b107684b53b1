"""A long wait for a rollout on the embedded cloud says once what moves it on."""

from typing import Any

import pytest

from mlops_cli.rollout_wait import RolloutWait


class Cloud:
    """An account, or the embedded cloud."""

    def __init__(self, *, is_embedded: bool) -> None:
        self.has_movable_clock = lambda: is_embedded


@pytest.mark.parametrize("is_embedded", [True, False])
def test_what_a_canary_waits_for_is_said_once(is_embedded: bool) -> None:
    """An account's clock cannot be moved, and its endpoints have callers."""
    said: list[str] = []
    slept: list[float] = []
    cloud: Any = Cloud(is_embedded=is_embedded)
    wait = RolloutWait(aws=cloud, endpoint="shop-units", say=said.append, sleep=slept.append)
    for _ in range(60):
        wait()
    assert len(slept) == 60
    assert len(said) == is_embedded
    for part in ("mlops traffic replay shop-units FILE --time COLUMN --now", "mlops local clock --jump 10m"):
        assert all(part in line for line in said)
