"""Our own addresses on the embedded cloud's port."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlops_local.cloud import CloudError

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud


def test_answers_beside_aws(cloud: Cloud) -> None:
    """A request signed by root."""
    assert set(cloud.call("/_mlops/clock")) == {"now", "epoch", "scale", "waiting"}


def test_fails_on_an_unknown_address(cloud: Cloud) -> None:
    """The error names the known addresses."""
    with pytest.raises(CloudError, match=r"^unknown address /_mlops/weather, known are \['/_mlops/clock'"):
        cloud.call("/_mlops/weather")
