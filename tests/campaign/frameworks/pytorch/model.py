"""How the server loads and calls the network."""

import json

import torch
from network import Network, encoded


def load(folder):
    """Return the network and its known categories; only weights are read, nothing is unpickled."""
    levels = json.loads((folder / "levels.json").read_text())
    weights = torch.load(folder / "weights.pt", weights_only=True)
    torch.set_num_threads(1)
    network = Network(weights["layers.0.weight"].shape[1])
    network.load_state_dict(weights)
    return network.eval(), levels


def predict(model, frame):
    """Return one amount per row."""
    network, levels = model
    with torch.no_grad():
        return network(encoded(frame, levels["age"], levels["home"])).numpy()
