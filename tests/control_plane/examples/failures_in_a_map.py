"""A map whose inputs may fail: the others are still there, in order."""

import modal

app = modal.App("failures-in-a-map")


@app.function()
def invert(x: int) -> float:
    return 1 / x


@app.local_entrypoint()
def main() -> None:
    print(
        [type(each).__name__ for each in invert.map([1, 0, 2], return_exceptions=True, wrap_returned_exceptions=False)]
    )
