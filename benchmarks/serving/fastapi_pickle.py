"""FastAPI with a typed body over a pickled scikit-learn model and pandas, as in its tutorial; uvicorn."""

import os
from pathlib import Path

import joblib
import pandas as pd
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

model = joblib.load(Path(os.environ["MLOPS_OPT_ML"]) / "model" / "model.joblib")
names = list(model.feature_names_in_)
stores = pd.CategoricalDtype(["east", "north", "west"])
app = FastAPI()


class Body(BaseModel):
    """Rows in column order."""

    instances: list[list[float | str]]


class Answer(BaseModel):
    """One prediction per row."""

    predictions: list[float]


@app.post("/invocations")
async def invocations(body: Body) -> Answer:
    """Predict."""
    frame = pd.DataFrame(body.instances, columns=names).astype({"store": stores, "city": stores})
    return Answer(predictions=model.predict(frame).tolist())


if __name__ == "__main__":
    port = int(os.environ["SAGEMAKER_BIND_TO_PORT"])
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")
