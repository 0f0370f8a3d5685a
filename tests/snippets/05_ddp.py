"""Reference: Multi-GPU Training, PyTorch DDP.

Differs: an app and an entrypoint; torch and train.py are in the image; `--standalone` takes a port that is free.
"""

from pathlib import Path

import modal

app = modal.App("ddp")
image = (
    modal.Image.debian_slim()
    .pip_install("torch")
    .add_local_file(Path(__file__).with_name("train.py"), "/root/train.py")
)


@app.function(gpu="A100:4", image=image)
def train_ddp() -> None:
    import subprocess

    subprocess.run(
        ["torchrun", "--standalone", "--nproc_per_node=4", "train.py"],
        check=True,
    )


@app.local_entrypoint()
def main() -> None:
    train_ddp.remote()
