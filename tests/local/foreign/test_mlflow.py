"""The stock MLflow server and client: events wait while the server is down, and then the client reads the mirrored data."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.local.foreign.mlflow_server import MlflowServer
from tests.runtime.tracking.tracked_pipeline import (
    EXECUTION,
    FINISHED,
    GROUP,
    PACKAGE,
    PROMOTED,
    SCHEDULED,
    tracked_pipeline,
)

from mlops_runtime.tracking.mlflow_rest import MlflowPassword, MlflowRest
from mlops_runtime.tracking.registered_model import RegisteredModels


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MlflowServer]:
    """The stock server, not yet started."""
    made = MlflowServer(tmp_path)
    yield made
    made.stop()


def test_events_wait_for_the_server_and_the_stock_client_reads_them(server: MlflowServer, tmp_path: Path) -> None:
    """Runs, versions and the alias of the live version; a team's logged model is downloaded by version and by alias."""
    with tracked_pipeline(server.uri) as (outbox, _):
        assert outbox.handle(FINISHED) == {"delivered": 0, "refused": 0, "waiting": 1}
        assert outbox.handle(PROMOTED) == {"delivered": 0, "refused": 0, "waiting": 2}
        server.start()
        assert outbox.handle(SCHEDULED) == {"delivered": 2, "refused": 0, "waiting": 0}
        assert outbox.handle(FINISHED)["delivered"] == 1  # buses deliver twice

    found = server.client("read", "demand", GROUP)
    (run,) = found["runs"]
    assert (run["name"], run["status"], run["params"]) == ("2017-08-07-a1", "FINISHED", {"max_depth": "6"})
    assert run["metrics"] == {
        "wape.candidate": 0.1,
        "wape.champion": 0.2,
        "wape.last_week": 0.4,
        "wape.candidate/store_north _ west": 0.1,
        "wape.champion/store_north _ west": 0.2,
        "training.best": 0.5,
        "training.loss": 0.6,
    }
    assert run["histories"]["training.loss"] == [[0, 0.9], [10, 0.6]]
    assert run["tags"]["mlops.execution"] == EXECUTION
    assert run["tags"]["mlops.training_set"] == "c" * 64
    assert run["tags"]["mlops.code_sha256"] == "e" * 64
    (version,) = found["versions"]
    assert (version["version"], version["aliases"], version["tags"]["mlops.package"]) == ("1", ["live"], PACKAGE)
    assert version["source"] == "s3://artifacts/models/x/model.tar.gz"

    assert server.client("log", "churn") == {"version": "1"}
    models = RegisteredModels(MlflowRest(server.uri), s3=dict)
    for uri in ("models:/churn/1", "models:/churn@champion"):
        folder = tmp_path / uri.replace("/", "-")
        assert models.download(uri, folder).version == "1"
        assert {"MLmodel", "requirements.txt", "python_model.pkl"} <= {path.name for path in folder.iterdir()}


def test_the_stock_server_with_passwords_admits_the_mirror(server: MlflowServer, tmp_path: Path) -> None:
    """``--app-name basic-auth``: with the secret's password events arrive, with another they wait, and no password is logged."""
    server.start(password="a-long-pa55word")
    for password, (delivered, waiting) in {"another-pa55word": (0, 1), "a-long-pa55word": (1, 0)}.items():
        with tracked_pipeline(server.uri, MlflowPassword(lambda known=password: ("admin", known))) as (outbox, s3):
            done = outbox.handle(FINISHED)
            kept = s3.list_objects_v2(Bucket="artifacts", Prefix="tracking/").get("Contents", [])
        assert (done, len(kept)) == ({"delivered": delivered, "refused": 0, "waiting": waiting}, waiting)
    assert "pa55word" not in (tmp_path / "server.log").read_text()
