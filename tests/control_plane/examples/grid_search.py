"""A grid search: one container a candidate, the best by its score."""

import itertools

import modal

app = modal.App("grid-search")


@app.function(gpu="any")
def score(rate: float, depth: int) -> tuple[float, float, int]:
    return -((rate - 0.1) ** 2) - (depth - 3) ** 2, rate, depth


@app.local_entrypoint()
def main() -> None:
    grid = list(itertools.product((0.01, 0.1, 1.0), (1, 3, 5)))
    found = list(score.starmap(grid, order_outputs=False))
    print(len(found), "candidates, best:", max(found)[1:])
