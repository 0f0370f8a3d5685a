"""Reference: GPU Selection, Multiple GPUs.

Differs: an app and an entrypoint; GPUs are counted by nvidia-smi, which also shows those that are simulated.
"""

import modal

app = modal.App("many-gpus")


# 8 H100s for large model training
@app.function(gpu="H100:8")
def train_large_model() -> int:
    import subprocess

    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    return len(listed.splitlines())


@app.local_entrypoint()
def main() -> None:
    print("GPUs:", train_large_model.remote())
