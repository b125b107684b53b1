"""What the guard does unless it is told otherwise."""

from mlops_constructs import GuardPolicy


def test_it_asks_again_every_hour_and_counts_nothing():
    """An alarm that stays on is not forgotten; labels count only where somebody tells of them."""
    policy = GuardPolicy()
    assert policy.recheck_interval.to_hours() == 1
    assert (policy.rejected_cooldown, policy.min_labels) == (None, None)
