"""Inputs that come one by one and run together."""

import modal

app = modal.App("batching")


@app.function(max_containers=1)
@modal.batched(max_batch_size=4, wait_ms=60_000)
def embed(words: list[str]) -> list[tuple[str, int]]:
    return [(word.upper(), len(words)) for word in words]


@app.local_entrypoint()
def main() -> None:
    print(list(embed.map("abcdefgh")))
