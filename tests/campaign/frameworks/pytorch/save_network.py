"""Train a network and save its weights with its code: ``save_network.py TABLE FOLDER NAME``."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from network import Network, encoded

HERE = Path(__file__).parent


def main() -> None:
    """Train on the table; write weights, ``model.py`` and the network's own predictions."""
    table, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]) / sys.argv[3] / "model"
    folder.mkdir(parents=True)
    frame = pd.DataFrame({name: table[name] for name in ("baskets", "household", "has_kids", "store", "age", "home")})
    ages, homes = (sorted(set(frame[name])) for name in ("age", "home"))
    rows, label = encoded(frame, ages, homes), torch.tensor(np.array(table["sales"], np.float32))
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = Network(rows.shape[1])
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(150):
        optimizer.zero_grad()
        loss = (network(rows) - label).abs().mean()
        loss.backward()
        optimizer.step()
    torch.save(network.state_dict(), folder / "weights.pt")
    (folder / "levels.json").write_text(json.dumps({"age": ages, "home": homes}))
    for name in ("model.py", "network.py"):
        shutil.copy(HERE / name, folder / name)
    with torch.no_grad():
        folder.with_name("expected.json").write_text(json.dumps(network(rows).tolist()))


if __name__ == "__main__":
    main()
