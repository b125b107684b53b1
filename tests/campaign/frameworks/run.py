"""``python -m tests.campaign.frameworks.run FOLDER [NAME...]``: models of each framework through the loop, one cloud per lock.

Each is saved by its own framework in the environment of its lock, registered by the command, evaluated on 50,000 rows, gated,
approved by policy, and served; the endpoint then returns the framework's predictions. Skips models in ``frameworks.jsonl``.
"""

import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from tests.campaign.frameworks.baskets import instances, label_of, signature, splits, training_json
from tests.campaign.frameworks.report import NAME, section
from tests.campaign.frameworks.unit import METRICS, STACK, UNIT, endpoint_name, synthesize
from tests.campaign.page import write
from tests.runtime.serving.environments import save_model
from tests.runtime.serving.model_environments import TREE_TYPES

from mlops_local import cloud as local_cloud
from mlops_local.model_environments import made
from mlops_local.stacks import deployer
from mlops_runtime.contracts import from_json, to_dict
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.image.requirements_lock import RequirementsLock

PAGE = Path(__file__).resolve().parents[3] / "docs" / "campaign.md"
RESULTS = "frameworks.jsonl"
HERE = Path(__file__).parent
# script that saves models of an environment, and their names
SAVED = {
    HERE / "requirements.lock": (Path(save_model.__file__), (
        "xgboost_json", "lightgbm_categories", "skops_linear", "joblib_forest", "handler", "sagemaker_handler",
        "xgboost_ubj", "catboost_chance", "pickle_trees", "mlflow_skops",
    )),
    HERE / "pytorch" / "requirements.lock": (HERE / "pytorch" / "save_network.py", ("torch_network",)),
}  # fmt: skip
NAMES = tuple(name for _, names in SAVED.values() for name in names)
SERVED_ROWS = 300


class Loop:
    """The unit on its cloud; takes one model at a time through the loop.

    Args:
        cloud: The cloud.
        folder: Folder of the assembly and the models.
        lock: The environment of its models.
    """

    def __init__(self, cloud: local_cloud.Cloud, folder: Path, lock: Path) -> None:
        self.cloud, self.folder, self.lock, self.script = cloud, folder, lock, SAVED[lock][0]
        requirements = RequirementsLock.parsed(lock.read_bytes())
        self.python = made(requirements, cloud.home / "environments") / "bin" / "python"
        outputs = deployer.deploy(cloud, synthesize(folder, lock))[STACK]
        s3, bucket = cloud.client("s3"), outputs["ArtifactsBucket"]
        for label in METRICS:
            for split in ("train", "holdout"):
                buffer = io.BytesIO()
                pq.write_table(getattr(splits(label), split), buffer)
                s3.put_object(Bucket=bucket, Key=f"exports/{label}/{split}/part-0.parquet", Body=buffer.getvalue())
            s3.put_object(Bucket=bucket, Key=f"exports/{label}/manifest/manifest.json", Body=splits(label).manifest)

    def go_around(self, name: str) -> dict[str, Any]:
        """Take one model through the loop, and return the measurements."""
        label, folder = label_of(name), self.folder / name
        expected = self._save(name, folder)
        before = self._live(label)
        started = time.monotonic()
        answer = self._register(name, folder / "model")
        seconds = time.monotonic() - started
        found: dict[str, Any] = {"name": name, "label": label, "registered": answer, "seconds": round(seconds, 1)}
        if not answer.get("package"):
            return {**found, "problem": "it was not registered"}
        live = self._promoted(label, before)
        body = json.dumps({"instances": instances(name, SERVED_ROWS)})
        answered = self.cloud.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=endpoint_name(label), ContentType="application/json", Body=body
        )
        served = np.array(json.loads(answered["Body"].read())["predictions"])
        worst = float(
            np.max(np.abs(served - expected[:SERVED_ROWS]) / np.maximum(np.abs(expected[:SERVED_ROWS]), 1e-6))
        )
        problem = None if worst < 1e-4 else f"the endpoint differs from the framework by {worst:.2g}"
        problem = problem if live.model_package_arn == answer["package"] else f"{live.model_package_arn} serves"
        return {**found, "worst": worst, "problem": problem}

    def _save(self, name: str, folder: Path) -> Any:
        folder.mkdir()
        (folder / "table.json").write_text(training_json(name))
        command = [self.python, self.script, folder / "table.json", self.folder, name]
        subprocess.run(command, check=True, capture_output=True)
        if name == "skops_trees":
            (folder / "model" / "trusted-types.txt").write_text(TREE_TYPES)
        (folder / "model" / "signature.json").write_text(json.dumps(to_dict(signature(name, folder / "model"))))
        return np.array(json.loads((folder / "expected.json").read_text()))

    def _register(self, name: str, model: Path) -> dict[str, Any]:
        pickled = ("pickle_trees", "joblib_forest", "skops_trees", "handler", "sagemaker_handler")
        trust = ["--trust", "pickle"] if name in pickled else []
        command = [sys.executable, "-m", "mlops_cli", "models", "register", endpoint_name(label_of(name)), str(model)]
        command += ["--requirements", str(self.lock), "--json", "--home", str(self.cloud.home), *trust]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        try:
            return dict(json.loads(done.stdout))
        except ValueError:
            return {"exit": done.returncode, "said": (done.stdout + done.stderr)[-2000:]}

    def _live(self, label: str) -> LivePointer | None:
        entry = json.loads(self._parameter(label))
        row = self.cloud.client("dynamodb").get_item(
            TableName=entry["rollout_table"], Key={"endpoint": {"S": endpoint_name(label)}}, ConsistentRead=True
        )
        live = row.get("Item", {}).get("live")
        return None if live is None else from_json(LivePointer, live["S"])

    def _parameter(self, label: str) -> str:
        name = f"/mlops/{UNIT}/endpoint/{endpoint_name(label)}"
        return str(self.cloud.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])

    def _promoted(self, label: str, before: LivePointer | None) -> LivePointer:
        deadline = time.monotonic() + 400
        while time.monotonic() < deadline:
            live = self._live(label)
            if live is not None and live != before:
                return live
            time.sleep(1)
        raise TimeoutError(f"no model was promoted at {datetime.now().isoformat()}")


def main(folder: Path, names: Sequence[str] = NAMES, *, page: Path | None = None) -> int:
    """Run the models without a result, and write the page; return the number of models with problems."""
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / RESULTS
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    done = {row["name"] for row in rows}
    for lock, (_, saved) in SAVED.items():
        left = [name for name in saved if name in names and name not in done]
        for row in _gone_around(lock, left):
            rows.append(row)
            sys.stdout.write(f"{json.dumps(row)}\n")
            sys.stdout.flush()
            with results.open("a") as file:
                file.write(f"{json.dumps(row)}\n")
    write(PAGE if page is None else page, NAME, section(rows))
    return sum(row["problem"] is not None for row in rows if row["name"] in names)


def _gone_around(lock: Path, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    if not names:
        return
    with tempfile.TemporaryDirectory(prefix="mlops-frameworks-") as scratch:
        cloud = local_cloud.up(Path(scratch) / "cloud", clock_scale=60.0)
        try:
            loop = Loop(cloud, Path(scratch) / "work", lock)
            for name in names:
                yield loop.go_around(name)
        finally:
            cloud.down(forget=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:] or NAMES))
