"""Clarify's files."""

import json
from typing import Any

import pytest

from mlops_runtime.contracts.monitor import Facet
from mlops_runtime.monitor.model_monitor.clarify_files import (
    ClarifyError,
    attribution_analysis,
    bias_analysis,
    read_bias_config,
    worse,
)
from mlops_runtime.monitor.model_monitor.executions import ExecutionFiles, MonitorName, read_executions


def _read(monitor: MonitorName, analysis: Any) -> Any:
    files = {"analysis.json": json.dumps(analysis).encode()}
    return read_executions([ExecutionFiles(monitor=monitor, at="", files=files)])


def test_a_configuration_names_groups_by_value_or_threshold() -> None:
    """0 and 1 are values and any other single number a threshold; an index refers to the header."""
    config = read_bias_config(
        {
            "headers": ["bought", "age", "region", "member"],
            "label": "bought",
            "label_values_or_threshold": [1],
            "facet": [
                {"name_or_index": 1, "value_or_threshold": [40]},
                {"name_or_index": "region", "value_or_threshold": ["north", "south"]},
                {"name_or_index": "member", "value_or_threshold": [0]},
            ],
        }
    )

    assert config.headers == ("age", "region", "member")
    assert config.positive == 0.5
    assert config.facets == (
        Facet(name="age", threshold=40.0),
        Facet(name="region", values=("north", "south")),
        Facet(name="member", values=("0",)),
    )


def test_every_problem_of_a_configuration_is_named() -> None:
    """Reports all problems of a configuration together."""
    with pytest.raises(ClarifyError) as error:
        read_bias_config({"facet": [{"name_or_index": 3}], "label_values_or_threshold": ["yes"]})

    assert str(error.value) == (
        "label must be the name of the label, got None; name_or_index of a facet must be a column, got 3; "
        "label_values_or_threshold must be [1] or one threshold here, got ['yes']"
    )


def test_an_analysis_is_read_back_as_it_was() -> None:
    """An analysis is read back with stages, facets and values."""
    values = {"age=40/CI": 0.2, "age=40/DPPL": -0.1, "region=north/DI": 0.9}
    found = _read("bias", bias_analysis(values, "bought")).bias

    assert {f"{b.facet}={b.facet_value}/{b.metric.name}": b.metric.value for b in found} == values
    assert {b.metric.name: b.stage for b in found} == {
        "CI": "pre_training",
        "DPPL": "post_training",
        "DI": "post_training",
    }
    assert _read("explainability", attribution_analysis({"price": 0.5}, "label0")).attributions == {"price": 0.5}


@pytest.mark.parametrize(
    ("name", "baseline", "value", "is_worse"),
    [
        ("DPPL", 0.2, 0.1, False),
        ("DPPL", 0.2, -0.3, True),
        ("DPPL", -0.2, 0.2, False),
        ("DI", 0.9, 1.05, False),
        ("DI", 0.9, 0.5, True),
        ("DI", 0.9, 1.2, True),
    ],
)
def test_worse_is_farther_from_fair(name: str, baseline: float, value: float, is_worse: bool) -> None:
    """Compares distances from fairness, with AWS's example and a ratio whose fair value is 1."""
    before = _read("bias", bias_analysis({f"age=40/{name}": baseline}, "y")).bias

    assert bool(worse(before, {f"age=40/{name}": value})) is is_worse
    assert worse(before, {}) == []
