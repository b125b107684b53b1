# /// script
# requires-python = ">=3.11,<3.15"
# dependencies = ["mlflow[auth]==3.17.2"]
# ///
"""Read the mirrored data with the stock MLflow client, or log a model as a team does.

Its environment also has the server: ``uv sync --script tests/local/foreign/mlflow_calls.py``. ``read URI
EXPERIMENT MODEL`` prints the client's runs, versions and aliases as JSON. ``log URI NAME`` logs a model of Python code
under a registered name and prints its version.
"""

import json
import sys

import mlflow

VERB, *GIVEN = sys.argv[1:]
CLIENT = mlflow.MlflowClient(tracking_uri=GIVEN[0], registry_uri=GIVEN[0])


def read(experiment: str, model: str) -> dict[str, object]:
    """Return runs of the experiment with their metric histories, and versions of the model with their aliases."""
    found = CLIENT.get_experiment_by_name(experiment)
    runs = CLIENT.search_runs([found.experiment_id]) if found is not None else []
    return {
        "runs": [
            {
                "name": run.info.run_name,
                "status": run.info.status,
                "params": run.data.params,
                "metrics": run.data.metrics,
                "tags": {name: value for name, value in run.data.tags.items() if name.startswith("mlops.")},
                "histories": {
                    name: [[each.step, each.value] for each in CLIENT.get_metric_history(run.info.run_id, name)]
                    for name in run.data.metrics
                },
            }
            for run in runs
        ],
        "versions": [
            {
                "version": version.version,
                "source": version.source,
                "run": version.run_id,
                "tags": version.tags,
                "aliases": list(CLIENT.get_model_version(model, version.version).aliases),
            }
            for version in CLIENT.search_model_versions(f"name = '{model}'")
        ],
    }


class Doubled(mlflow.pyfunc.PythonModel):
    """A model that doubles its only column."""

    def predict(self, context, model_input, params=None):  # MLflow validates inputs by type hints
        """Return twice the price."""
        del context, params
        return model_input["price"] * 2


def log(name: str) -> dict[str, object]:
    """Log the model in a run of its own, and register it."""
    mlflow.set_tracking_uri(GIVEN[0])
    with mlflow.start_run():
        made = mlflow.pyfunc.log_model(name="model", python_model=Doubled(), registered_model_name=name)
    CLIENT.set_registered_model_alias(name, "champion", made.registered_model_version)
    return {"version": made.registered_model_version}


sys.stdout.write(json.dumps({"read": read, "log": log}[VERB](*GIVEN[1:])) + "\n")
