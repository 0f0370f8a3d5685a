"""Reference: GPU Metrics.

Differs: an app and an entrypoint.
"""

import modal

app = modal.App("metrics")


@app.function(gpu="A100")
def check_gpu() -> None:
    import subprocess

    result = subprocess.run(
        ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used,memory.total", "--format=csv"],
        capture_output=True,
        text=True,
    )
    print(result.stdout)


@app.local_entrypoint()
def main() -> None:
    check_gpu.remote()
