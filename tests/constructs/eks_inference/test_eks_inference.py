"""What the values of the package are, where no other test is about them: who makes a place, who applies what stands still."""

from mlops_constructs import Bootstrap, Delivery, TenantQuota


def test_a_function_makes_the_place_or_a_file_does() -> None:
    """Two ways, and nothing between."""
    assert (Bootstrap.function().is_function, Bootstrap.yaml().is_function) == (True, False)


def test_the_stack_applies_or_a_repository_does() -> None:
    """Two ways, and nothing between."""
    assert (Delivery.server_side_apply().is_applied, Delivery.git_ops().is_applied) == (True, False)


def test_a_quota_has_room_for_the_default_of_two_services() -> None:
    """Two of 22 cores each."""
    assert TenantQuota() == TenantQuota(cpu="64", memory="128Gi", pods=100)
