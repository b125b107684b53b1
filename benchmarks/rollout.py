"""Time from approval to full traffic on the embedded cloud, without the bakes: a canary of two steps, five models in sequence.

``python -m benchmarks.rollout``: it shares the deployed endpoint with the tests.
"""

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.measure import load
from tests.examples.test_rollouts import MINUTES, Shop

from mlops_constructs import RolloutChecks, RolloutPolicy
from mlops_local import cloud as local_cloud

CLOCK_SCALE = 120.0
BAKE_MINUTES, BAKES = 5, 2
RUNS = 5


def policy(checks: RolloutChecks) -> RolloutPolicy:
    """A canary that starts at half, with evidence from the benchmark's calls."""
    del checks
    return RolloutPolicy.canary(percent=50, bake=MINUTES(BAKE_MINUTES), checks=RolloutChecks(min_invocations=1))


def main() -> None:
    """Print the median of the real seconds without bakes."""
    baked = BAKES * BAKE_MINUTES * 60 / CLOCK_SCALE
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        cloud = local_cloud.up(Path(folder) / "cloud", clock_scale=CLOCK_SCALE)
        try:
            shop = Shop(cloud, Path(folder))
            shop.deploy("canary", policy)
            shop.approve(2.0)
            for number in range(RUNS):
                started = time.monotonic()
                shop.approve(3.0 + number)
                seconds.append(time.monotonic() - started - baked)
        finally:
            cloud.down(forget=True)
    print(f"approval to full traffic, bakes of {baked:.0f} s taken off: median {statistics.median(seconds):.1f} s")
    print(f"{RUNS} canaries: {', '.join(f'{s:.1f}' for s in sorted(seconds))} s; {load()}")


if __name__ == "__main__":
    main()
