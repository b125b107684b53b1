"""The replacement of Clarify's container: bias and attributions."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.runtime import explain as package
from tests.runtime.jobs.model_monitor_container import Container, call

from mlops_runtime.jobs import model_monitor_clarify
from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.serving.onnx_model import load

NO_MODEL = "no model is asked for"


@pytest.fixture
def container(tmp_path: Path) -> Container:
    """Return an empty container."""
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
    """A group with fewer positive predictions than before is reported by its Clarify name."""
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
        ({"methods": {"shap": {}}}, "predictor must have a model_name, got None; shap must have a baseline with rows"),
        ({"label": "y"}, "facet must list at least one group"),
    ],
)
def test_clarify_says_what_it_cannot_do(container: Container, config: dict[str, Any], message: str) -> None:
    """Unsupported settings are named."""
    container.environment |= {
        "dataset_format": '{"sagemakerMergeJson":{}}',
        "analysis_config": container.put("config.json", config),
        "baseline_constraints": container.put("b.json", {}),
    }
    container.capture(_biased(0.5, 20))
    with pytest.raises(JobError, match=message):
        model_monitor_clarify.run(container.environment, pytest.fail)


def test_attributions_without_shap_say_so(container: Container, monkeypatch: pytest.MonkeyPatch, models: Any) -> None:
    """The message names the image with the package."""
    monkeypatch.setitem(sys.modules, "shap", None)
    config = {"methods": {"shap": {"baseline": [[1.0, 2.0, "north"]]}}, "predictor": {"model_name": "m"}}
    container.environment["analysis_config"] = container.put("config.json", config)
    container.environment["baseline_constraints"] = container.put("b.json", {})
    container.capture([call(i, f"{i},2,north", "1") for i in range(3)])

    with pytest.raises(JobError, match="attributions need the package 'shap'"):
        model_monitor_clarify.run(
            container.environment, lambda _: nullcontext(load(models.onnx(), models.signature_json()))
        )


@pytest.mark.parametrize(
    ("before", "violations"),
    [({"price": 9.0, "stock": 1.0, "store": 0.5}, 0), ({"price": 0.1, "stock": 0.2, "store": 9.0}, 1)],
)
def test_a_ranking_that_turned_is_a_violation(
    container: Container, models: Any, before: dict[str, float], violations: int
) -> None:
    """With the real package and model: price varies most and ranks first."""
    package.require()
    config = {"methods": {"shap": {"baseline": [[1.0, 2.0, "north"]]}}, "predictor": {"model_name": "m"}}
    analysis = {"explanations": {"kernel_shap": {"label0": {"global_shap_values": before}}}}
    container.environment["analysis_config"] = container.put("config.json", config)
    container.environment["baseline_constraints"] = container.put("b.json", analysis)
    container.capture([call(i, f"{100 * i},{i},north", "1") for i in range(20)])
    model_monitor_clarify.run(
        container.environment, lambda _: nullcontext(load(models.onnx(), models.signature_json()))
    )

    found = container.read("analysis.json")["explanations"]["kernel_shap"]["label0"]["global_shap_values"]
    assert max(found, key=lambda name: found[name]) == "price"
    assert len(container.read("constraint_violations.json")["violations"]) == violations
