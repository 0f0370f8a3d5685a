"""A sandbox, which the local backend has none of."""

import modal

app = modal.App("sandbox")


@app.local_entrypoint()
def main() -> None:
    box = modal.Sandbox.create("echo", "hi", app=app)
    print(box.stdout.read())
