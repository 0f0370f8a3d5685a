"""Reference: Cost Optimization.

Differs: `scaledown_window`, which was `container_idle_timeout`; an app, an entrypoint and a model to load; a
batch waits for as long as it takes a busy machine to fill it.
"""

import modal

app = modal.App("service")


class Model:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.batches = 0

    def batch_predict(self, inputs: list[str]) -> list[str]:
        self.batches += 1
        return [f"{text.upper()} in batch {self.batches} of {len(inputs)}" for text in inputs]


def load_model() -> Model:
    return Model()


@app.cls(
    gpu="L40S",
    scaledown_window=300,  # Keep warm for 5 min
    max_containers=1,
)
class InferenceService:
    @modal.enter()
    def load_model(self) -> None:
        self.model = load_model()

    @modal.batched(max_batch_size=32, wait_ms=60_000)
    async def predict(self, inputs: list[str]) -> list[str]:
        return self.model.batch_predict(inputs)


@app.local_entrypoint()
def main() -> None:
    answers = list(InferenceService().predict.map(f"text {number}" for number in range(64)))
    print(answers[0])
    print("calls:", len({answer.partition(" in ")[2] for answer in answers}))
