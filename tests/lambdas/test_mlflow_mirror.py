"""The function that mirrors to MLflow, with its tables and buckets in this process (moto)."""

import pytest
from tests.loaded_module import load_handler
from tests.runtime.tracking.stand_in import mlflow_stand_in
from tests.runtime.tracking.tracked_pipeline import GROUP, PROMOTED, SageMaker, tracked_pipeline


def test_an_event_is_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uses server, experiment and model of the environment."""
    with mlflow_stand_in() as server, tracked_pipeline(server.uri):
        environment = {
            "AWS_DEFAULT_REGION": "us-east-1",
            "PIPELINE": "demand-forecast",
            "ENDPOINT": "demand-forecast",
            "MODEL": GROUP,
            "ARTIFACTS_BUCKET": "artifacts",
            "RETRAINING_TABLE": "retraining",
            "ROLLOUT_TABLE": "rollout",
            "TRACKING_URI": server.uri,
            "EXPERIMENT": "demand",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        module = load_handler("mlflow_mirror")
        monkeypatch.setattr(module.OUTBOX, "_sagemaker", SageMaker())

        assert module.handler(PROMOTED, None) == {"delivered": 1, "refused": 0, "waiting": 0}
        assert (server.models, server.aliases) == ([GROUP], {"live": "1"})
