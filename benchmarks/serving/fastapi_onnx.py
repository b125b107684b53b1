# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["fastapi>=0.115", "uvicorn[standard]>=0.34", "onnxruntime>=1.20", "numpy>=2"]
# ///
"""FastAPI with a typed body over the same ONNX Runtime session, as in its tutorial; uvicorn with httptools and uvloop."""

import os
from pathlib import Path

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
path = Path(os.environ["MLOPS_OPT_ML"]) / "model" / "model.onnx"
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
app = FastAPI()


class Body(BaseModel):
    """Rows in column order."""

    instances: list[list[float]]


class Answer(BaseModel):
    """One prediction per row."""

    predictions: list[float]


@app.get("/ping")
def ping() -> None:
    """Answer the health check."""


@app.post("/invocations")
async def invocations(body: Body) -> Answer:
    """Predict."""
    rows = np.array(body.instances, dtype=np.float32)
    return Answer(predictions=session.run(None, {"input": rows})[0].ravel().tolist())


if __name__ == "__main__":
    port = int(os.environ["SAGEMAKER_BIND_TO_PORT"])
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")
