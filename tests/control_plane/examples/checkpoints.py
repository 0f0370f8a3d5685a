"""A training that goes on from its last checkpoint in a Volume."""

from pathlib import Path

import modal

app = modal.App("checkpoints")
volume = modal.Volume.from_name("example-checkpoints", create_if_missing=True)


@app.function(volumes={"/checkpoints": volume})
def train(steps: int) -> int:
    file = Path("checkpoints/last")
    step = int(file.read_text()) if file.exists() else 0
    file.write_text(str(step + steps))
    volume.commit()
    return step


@app.local_entrypoint()
def main() -> None:
    print("began at", train.remote(5), "and at", train.remote(5))
    print("in the Volume:", b"".join(volume.read_file("last")).decode(), [entry.path for entry in volume.listdir("/")])
