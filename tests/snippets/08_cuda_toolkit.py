"""Reference: CUDA Setup, Full CUDA Toolkit.

Differs: an app and an entrypoint; torch comes first and flash-attn without build isolation, since its build imports
torch. The local backend has no CUDA toolkit: it lists what it does without.
"""

import modal

app = modal.App("cuda-toolkit")
image = (
    modal.Image.from_registry("nvidia/cuda:12.8.1-devel-ubuntu24.04", add_python="3.12")
    .entrypoint([])
    .pip_install("torch", "packaging", "wheel")
    .pip_install("flash-attn", "triton", extra_options="--no-build-isolation")
)


@app.function(gpu="H100", image=image)
def advanced_cuda() -> str | None:
    import shutil

    return shutil.which("nvcc")


@app.local_entrypoint()
def main() -> None:
    print("nvcc:", advanced_cuda.remote())
