"""A tiny job: prints what it sees, writes a job's files, and ends as its arguments or hyperparameters tell it."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import boto3

ROOT = Path(os.environ["MLOPS_OPT_ML"])
arguments = dict(pair.split("=", 1) for pair in sys.argv[1:])
parameters = ROOT / "input/config/hyperparameters.json"
parameters_of_job = json.loads(parameters.read_text()) if parameters.is_file() else {}
how = arguments.get("end", parameters_of_job.get("end", "well"))
files = {path.relative_to(ROOT).as_posix(): path.read_text() for path in ROOT.rglob("*") if path.is_file()}
sys.stdout.write("hello from the job\n")

for folder in ("model", "output/data", "processing/output"):
    if (ROOT / folder).is_dir():
        seen = {"files": files, "arguments": arguments, "environment": dict(os.environ), "cwd": str(Path.cwd())}
        if "AWS_ENDPOINT_URL" in os.environ:
            seen["caller"] = boto3.client("sts").get_caller_identity()["Arn"]
        (ROOT / folder / "seen.json").write_text(json.dumps(seen))

if how == "counts":  # writes a checkpoint per step, and continues from the last one
    folder = ROOT / "checkpoints"
    done = sorted(int(path.stem) for path in folder.glob("*.step"))
    first = done[-1] + 1 if done else 1
    for step in range(first, int(arguments["steps"]) + 1):
        (folder / f"{step}.step").write_text(f"from {first}")
        time.sleep(0.4)
if how == "failure":
    (ROOT / "output" / "failure").write_text("the data make no sense")
    (ROOT / "output" / "message").write_text("the data make no sense")
    sys.exit(3)
if how == "forbidden":
    boto3.client("s3").create_bucket(Bucket="not-allowed")
if how == "writes":
    with (ROOT / "model" / "model.bin").open("wb") as file:
        file.truncate(int(arguments["bytes"]))
    signal.pause()
if how in ("never", "deaf"):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0) if how == "never" else None)
    time.sleep(600)
