"""Reference: GPU Selection, GPU Fallbacks.

Differs: an app and an entrypoint; says what it got.
"""

import modal

app = modal.App("fallbacks")


@app.function(gpu=["H100", "A100-80GB", "A100-40GB:2"])
def flexible_function() -> str:
    # Will try H100 first, then A100-80GB, then 2x A100-40GB
    import subprocess

    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout


@app.local_entrypoint()
def main() -> None:
    print("got:", flexible_function.remote())
