"""Reference: GPU Selection, Single GPU.

Differs: an app and an entrypoint; the GPU is asserted with nvidia-smi, since torch cannot see a simulated one.
"""

import modal

app = modal.App("single-gpu")


@app.function(gpu="A100")
def train() -> str:
    import subprocess

    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    assert listed.startswith("GPU 0:")
    return listed


@app.local_entrypoint()
def main() -> None:
    print(train.remote())
