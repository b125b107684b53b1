"""Fixtures: the accounts shared by all attacks on a promotion."""

from collections.abc import Iterator

import pytest
from tests.promotion_attacks.besieged import Besieged

from mlops_local import cloud as local_cloud


@pytest.fixture(scope="package")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Besieged]:
    """Deploy both accounts and promote one honest release, which serves from then on."""
    folder = tmp_path_factory.mktemp("siege")
    cloud = local_cloud.up(folder / "cloud", clock_scale=60.0, account_count=4)
    try:
        siege = Besieged(cloud, folder)
        honest = siege.offer(siege.forge(factor=3.0))
        assert siege.decided(honest).state == "APPROVED"
        siege.until(siege.loop.live)
        siege.loop.wait_idle("DeployMachineArn")
        yield siege
    finally:
        cloud.down(forget=True)
