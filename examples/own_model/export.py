"""A team's own export: ``python -m examples.own_model.export BUCKET`` uploads a training set to S3.

The pipeline reads ``train/`` and ``holdout/`` (Parquet), and a manifest with the time until which the training split has data.
"""

import io
import sys
from typing import Any

import boto3
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.features import Build, Output, PinnedTable, Semantics, TrainingSetManifest

PREFIX = "exports/visits"
LABEL, NOT_INPUTS = "progression", ("visited", "mean", "progression")


def visits() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return scikit-learn's table of 442 diabetes patients as two splits: with clinics, times, and the naive prediction."""
    frame = load_diabetes(as_frame=True, scaled=False).frame.rename(columns={"target": LABEL})
    frame["sex"] = np.where(frame["sex"] == 1, "one", "two")
    frame["clinic"] = [f"clinic-{row % 20:02}" for row in range(len(frame))]
    frame["visited"] = pd.to_datetime("2026-01-01", utc=True) + pd.to_timedelta(np.arange(len(frame)), "h")
    frame["mean"] = frame[LABEL][:220].mean()
    return frame[:220], frame[220:]


def manifest(train: pd.DataFrame, holdout: pd.DataFrame) -> TrainingSetManifest:
    """Return the manifest of the export, without the fields of a feature store."""
    table = PinnedTable(
        group="visits",
        version=1,
        database="",
        table="",
        table_uuid="",
        snapshot_id=0,
        sequence=0,
        schema_id=0,
        tag="",
        columns=(),
    )
    return TrainingSetManifest(
        name="visits",
        semantics=Semantics(as_of="event_time", cutoff=""),
        entities=table,
        features=(),
        build=Build(engine="export", engine_version="", planner="", client=""),
        output=Output(rows=len(train) + len(holdout), content_hash="", files=(), columns={}),
        split={
            "trained_until": train["visited"].max().isoformat(),
            "holdout_from": holdout["visited"].min().isoformat(),
            "holdout_until": holdout["visited"].max().isoformat(),
        },
    )


def lay_down(s3: Any, bucket: str) -> None:
    """Write both splits and the manifest."""
    train, holdout = visits()
    for name, rows in (("train", train), ("holdout", holdout)):
        buffer = io.BytesIO()
        rows.to_parquet(buffer, index=False)
        s3.put_object(Bucket=bucket, Key=f"{PREFIX}/{name}/part-0.parquet", Body=buffer.getvalue())
    described = canonical_json(manifest(train, holdout))
    s3.put_object(Bucket=bucket, Key=f"{PREFIX}/manifest/manifest.json", Body=described)


if __name__ == "__main__":
    lay_down(boto3.client("s3"), sys.argv[1])
