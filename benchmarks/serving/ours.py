# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["numpy>=2", "onnxruntime>=1.20", "orjson>=3.10", "uvicorn>=0.34", "httptools>=0.6", "uvloop>=0.21", "boto3>=1.43"]
# ///
"""Our server, in an environment with the packages of its image."""

import sys

from mlops_runtime.serving.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["serve"]))
