"""A function that takes longer than it may."""

import modal

app = modal.App("slow")


@app.function(timeout=1)
def sleep() -> None:
    import time

    time.sleep(300)


@app.local_entrypoint()
def main() -> None:
    try:
        sleep.remote()
    except modal.exception.FunctionTimeoutError as error:
        print("too slow:", type(error).__name__)
