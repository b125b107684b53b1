"""What stands for Clarify's container: bias, and what it says of attributions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.runtime.jobs.model_monitor_container import Container, call

from mlops_runtime.jobs import model_monitor_clarify
from mlops_runtime.jobs.optml import JobError

NO_MODEL = "no model is asked for"


@pytest.fixture
def container(tmp_path: Path) -> Container:
    """An empty one."""
    return Container(tmp_path)


def _biased(share: float, count: int = 400) -> list[str]:
    random = np.random.default_rng(3)
    lines = []
    for i in range(count):
        age = 50 if i % 2 else 30
        prediction = float(random.random() < (share if age > 40 else 0.5))
        truth = {"data": str(int(random.random() < 0.5)), "encoding": "CSV"}
        lines.append(call(i, f"{age},north", f"{prediction}", groundTruthData=truth))
    return lines


def test_bias_is_compared_with_the_baselines_analysis(container: Container) -> None:
    """A group that is predicted less often than it was is reported, under its Clarify name."""
    config = {
        "headers": ["age", "region"],
        "label": "bought",
        "label_values_or_threshold": [1],
        "facet": [{"name_or_index": "age", "value_or_threshold": [40]}],
        "methods": {"post_training_bias": {"methods": "all"}},
    }
    container.environment |= {
        "dataset_format": '{"sagemakerMergeJson":{}}',
        "analysis_config": container.put("config.json", config),
        "baseline_constraints": container.put("empty.json", {}),
    }

    def model_of(_: str) -> Any:
        raise AssertionError(NO_MODEL)

    container.capture(_biased(0.5))
    model_monitor_clarify.run(container.environment, model_of)
    assert container.read("constraint_violations.json") == {"version": "1.0", "violations": []}
    container.environment["baseline_constraints"] = container.put("baseline.json", container.read("analysis.json"))
    container.capture(_biased(0.1))
    model_monitor_clarify.run(container.environment, model_of)

    violated = {
        (v["facet"], v["facet_value"], v["metric_name"])
        for v in container.read("constraint_violations.json")["violations"]
    }
    assert {("age", "40", "DPPL"), ("age", "40", "DI")} <= violated
    assert ("age", "40", "CI") not in violated
    assert container.message.startswith("CompletedWithViolations")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"label": "y", "facet": [{"name_or_index": "sex", "value_or_threshold": ["f"]}]},
            "facets must be columns of the input, 'sex'",
        ),
        ({"methods": {"shap": {}}}, "predictor must have a model_name, got None; shap must have a baseline of rows"),
        ({"label": "y"}, "facet must list at least one group"),
    ],
)
def test_clarify_says_what_it_cannot_do(container: Container, config: dict[str, Any], message: str) -> None:
    """By name."""
    container.environment |= {
        "dataset_format": '{"sagemakerMergeJson":{}}',
        "analysis_config": container.put("config.json", config),
        "baseline_constraints": container.put("b.json", {}),
    }
    container.capture(_biased(0.5, 20))
    with pytest.raises(JobError, match=message):
        model_monitor_clarify.run(container.environment, pytest.fail)
