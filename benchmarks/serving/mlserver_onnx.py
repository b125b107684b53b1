# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["mlserver==1.7.1", "onnxruntime>=1.20", "numpy"]
# ///
"""MLServer with a custom runtime over the same ONNX Runtime session; without worker processes, which fail to start with it."""

import asyncio
import os
from pathlib import Path

import numpy as np
import onnxruntime
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
path = Path(os.environ["MLOPS_OPT_ML"]) / "model" / "model.onnx"


class Onnx(MLModel):
    """The runtime."""

    async def load(self) -> bool:
        """Load the session."""
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Predict."""
        tensor = payload.inputs[0]
        rows = np.array(tensor.data.root, dtype=np.float32).reshape(tensor.shape)
        result = self.session.run(None, {"input": rows})[0].ravel()
        output = ResponseOutput(name="variable", shape=[len(result)], datatype="FP32", data=result.tolist())
        return InferenceResponse(model_name=self.name, outputs=[output])


async def main() -> None:
    """Serve until terminated."""
    settings = Settings(
        host="127.0.0.1",
        http_port=int(os.environ["SAGEMAKER_BIND_TO_PORT"]),
        grpc_port=int(os.environ["SAGEMAKER_BIND_TO_PORT"]) + 1,
        metrics_endpoint=None,
        parallel_workers=0,
        debug=False,
        logging_settings=None,
    )
    await MLServer(settings).start([ModelSettings(name="model", implementation=Onnx)])


if __name__ == "__main__":
    asyncio.run(main())
