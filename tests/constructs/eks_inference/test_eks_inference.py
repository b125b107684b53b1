"""Enumerations and defaults of the package without a test elsewhere."""

from mlops_constructs import Bootstrap, Delivery, TenantQuota


def test_a_function_makes_the_place_or_a_file_does() -> None:
    """Has exactly two options."""
    assert (Bootstrap.function().is_function, Bootstrap.yaml().is_function) == (True, False)


def test_the_stack_applies_or_a_repository_does() -> None:
    """Has exactly two options."""
    assert (Delivery.server_side_apply().is_applied, Delivery.git_ops().is_applied) == (True, False)


def test_a_quota_has_room_for_the_default_of_two_services() -> None:
    """The default quota fits two services of 22 cores each."""
    assert TenantQuota() == TenantQuota(cpu="64", memory="128Gi", pods=100)
