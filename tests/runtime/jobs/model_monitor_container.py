"""The folders and variables of a Model Monitor job, as defined by its container contract."""

import json
from pathlib import Path
from typing import Any


class Container:
    """The folders and variables of a job."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {
            "dataset_format": '{"sagemakerCaptureJson":{"captureIndexNames":["endpointInput","endpointOutput"]}}',
            "dataset_source": str(root / "processing/input_data"),
            "output_path": str(root / "processing/output"),
            "start_time": "2017-08-07T10: 00: 00Z",
            "end_time": "2017-08-07T11:00:00Z",
            "publish_cloudwatch_metrics": "Enabled",
            "sagemaker_endpoint_name": "demand",
            "sagemaker_monitoring_schedule_name": "hourly",
            "MLOPS_OPT_ML": str(root),
        }

    def put(self, path: str, content: Any) -> str:
        """Write a file below the root, lines or a document, and return its path."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(content) if isinstance(content, list) else json.dumps(content))
        return str(target)

    def capture(self, lines: list[str], hour: str = "2017/08/07/10") -> None:
        """Write the captures of an hour."""
        self.put(f"processing/input_data/demand/AllTraffic/{hour}/a.jsonl", lines)

    def read(self, name: str) -> Any:
        """Read a result."""
        return json.loads((self.root / "processing/output" / name).read_text())

    @property
    def message(self) -> str:
        """Return the text of ``ExitMessage``."""
        return (self.root / "output/message").read_text()


def call(number: int, data: str, output: str, at: str = "2017-08-07T10:30:00Z", **more: Any) -> str:
    """Return a captured call."""
    captured = {
        side: {"observedContentType": "text/csv", "mode": mode, "data": text, "encoding": "CSV"}
        for side, mode, text in (("endpointInput", "INPUT", data), ("endpointOutput", "OUTPUT", output))
    }
    metadata = {"eventId": f"e-{number}", "inferenceTime": at}
    return json.dumps({"captureData": captured, "eventMetadata": metadata, "eventVersion": "0", **more})


def label(number: int, value: object) -> str:
    """Return a label."""
    truth = {"data": str(value), "encoding": "CSV"}
    return json.dumps({"groundTruthData": truth, "eventMetadata": {"eventId": f"e-{number}"}, "eventVersion": "0"})
