"""Reference: CUDA Setup, Using Pre-installed Drivers.

Differs: an app and an entrypoint; the answer comes back, and is False where the GPU is simulated.
"""

import modal

app = modal.App("torch")
image = modal.Image.debian_slim().pip_install("torch")


@app.function(gpu="A100", image=image)
def cuda_function() -> bool:
    import torch

    print("torch", torch.__version__)
    return bool(torch.cuda.is_available())  # True on Modal


@app.local_entrypoint()
def main() -> None:
    print("CUDA:", cuda_function.remote())
