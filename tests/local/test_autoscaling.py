"""Autoscaling is installed after the alarms, whose states it reads."""

from mlops_local import launcher


def test_is_installed_after_the_alarms() -> None:
    """Alarms are evaluated first in each minute."""
    names = [module.__name__ for module in launcher._MODULES]
    assert names.index("mlops_local.autoscaling") > names.index("mlops_local.alarms")
