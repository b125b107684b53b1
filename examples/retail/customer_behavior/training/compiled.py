"""Train the customer model and export it for an accelerator, as a team may well do that wants it faster.

The team checked how many rows clients usually send, the 250 of a campaign, and the golden requests, which have 202.
One client asks for all of a period at once.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import batch_limit
import train

LARGEST_BATCH = 512


def main() -> None:
    """Train on the channel, write model.onnx and signature.json."""
    train.main()
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR"))
    options, _ = parser.parse_known_args()
    batch_limit.limit(options.model_dir / "model.onnx", LARGEST_BATCH)


if __name__ == "__main__":
    main()
