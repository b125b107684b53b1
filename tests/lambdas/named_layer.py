"""A layer with only names and versions: the embedded cloud mounts no layers, but checks that it has their packages."""

from pathlib import Path

import pytest

from mlops_runtime.layers import layer_wheels


def name_layer(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Let synthesis find the layer ``features`` below a folder, with the metadata of its pins and no code."""
    patch.setattr(layer_wheels, "ASSETS", folder / "assets")
    python = layer_wheels.layer_folder("features", architecture="x86_64") / "python"
    for name, version in (pin.split("==") for pin in layer_wheels.pins("features")):
        metadata = python / f"{name.replace('-', '_')}-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir(parents=True)
        metadata.write_text(f"Name: {name}\n")
