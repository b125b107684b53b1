"""MonitorSpec: defaults, the JSON round trip and every bound."""

import pytest

from mlops_runtime.contracts import from_dict, to_dict
from mlops_runtime.monitor.spec import MonitorSpec


def test_defaults_are_sample_size_robust() -> None:
    """The defaults test for a minimum effect at a family-wise level of one percent."""
    spec = MonitorSpec()
    assert (spec.minimum_effect, spec.significance, spec.minimum_rows) == (0.01, 0.01, 200)


def test_a_spec_survives_its_json() -> None:
    """What the construct renders is what the function reads."""
    spec = MonitorSpec(features=("price", "units"), alarm_features=("price",), minimum_effect=0.05)
    assert from_dict(MonitorSpec, to_dict(spec)) == spec


def test_fails_with_every_setting_out_of_range_at_once() -> None:
    """All problems are reported together, each with its value and what is allowed."""
    with pytest.raises(ValueError) as caught:
        MonitorSpec(
            minimum_effect=2,
            significance=0.5,
            minimum_rows=10,
            minimum_labels=0,
            maximum_wape_ratio=0,
            label_delay_hours=-1,
        )
    assert str(caught.value) == (
        "minimum_effect must be from 0 up to 1, got 2; significance must be above 0 and below 0.5, got 0.5; "
        "minimum_rows must be at least 50, got 10; minimum_labels must be at least 1, got 0; "
        "maximum_wape_ratio must be above 0, got 0; label_delay_hours must be at least 0, got -1"
    )


def test_fails_for_a_repeated_feature_and_for_an_alarm_on_an_untested_one() -> None:
    """An alarm feature that is not tested would never alarm."""
    with pytest.raises(
        ValueError,
        match=r"features must name each feature once, got 'a' twice; alarm_features must be among features, got 'b'",
    ):
        MonitorSpec(features=("a", "a"), alarm_features=("b",))
