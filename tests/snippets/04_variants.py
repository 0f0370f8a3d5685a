"""Reference: GPU Selection, Specific GPU Variants.

Differs: an app and an entrypoint; each says its name and memory.
"""

import modal

app = modal.App("variants")


def name_and_memory() -> str:
    import subprocess

    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()


# Specific A100 variant
@app.function(gpu="A100-40GB")
def smaller_a100() -> str:
    return name_and_memory()


@app.function(gpu="A100-80GB")
def larger_a100() -> str:
    return name_and_memory()


# Prevent H100 → H200 auto-upgrade
@app.function(gpu="H100!")
def strict_h100() -> str:
    return name_and_memory()


@app.local_entrypoint()
def main() -> None:
    calls = [function.spawn() for function in (smaller_a100, larger_a100, strict_h100)]
    print(*(call.get() for call in calls), sep="\n")
