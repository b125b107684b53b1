"""How patiently a verification waits, and what it hides."""

from __future__ import annotations

import pytest

from mlops_runtime.verify.account import ON_AWS, embedded_pace


@pytest.mark.parametrize(("scale", "patience"), [(0.5, 7200), (1, 3600), (10, 360), (15, 240), (30, 240), (1000, 240)])
def test_the_embedded_cloud_is_waited_for_by_its_clock(scale: float, patience: float) -> None:
    """A canary takes as many seconds of the clock as on AWS; real work takes real ones however fast the clock is."""
    assert embedded_pace(scale).patience == patience
    assert embedded_pace(scale).patience * scale >= ON_AWS.patience
