# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["kserve==0.21.0", "onnxruntime>=1.20", "numpy"]
# ///
"""KServe's own model server with a custom predictor over the same ONNX Runtime session: protocols v1 and v2."""

import os
from pathlib import Path

import kserve
import numpy as np
import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
path = Path(os.environ["MLOPS_OPT_ML"]) / "model" / "model.onnx"


class Onnx(kserve.Model):
    """The predictor."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
        """Predict, in the protocol of the request."""
        if isinstance(payload, InferRequest):
            tensor = payload.inputs[0]
            rows = tensor.as_numpy().astype(np.float32, copy=False)
            result = self.session.run(None, {"input": rows})[0].ravel()
            output = InferOutput(name="variable", shape=[len(result)], datatype="FP32")
            output.set_data_from_numpy(result, binary_data=False)
            return InferResponse(response_id=payload.id or "1", model_name=self.name, infer_outputs=[output])
        rows = np.array(payload["instances"], dtype=np.float32)
        return {"predictions": self.session.run(None, {"input": rows})[0].ravel().tolist()}


if __name__ == "__main__":
    server = kserve.ModelServer(
        http_port=int(os.environ["SAGEMAKER_BIND_TO_PORT"]), enable_grpc=False, workers=1, access_log_format=None
    )
    server.start([Onnx("model")])
