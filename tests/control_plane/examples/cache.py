"""Results in a Dict, so that no container computes one twice."""

import modal

app = modal.App("cache")


@app.function()
def square(x: int, cache: modal.Dict) -> str:
    if x in cache:
        return f"{x}: found {cache[x]}"
    cache[x] = x * x
    return f"{x}: computed {cache[x]}"


@app.local_entrypoint()
def main() -> None:
    with modal.Dict.ephemeral() as cache:
        print(*(square.remote(x, cache) for x in (3, 3, 4)), sep="\n")
        print(cache.len(), cache.get("missing", "nothing"), sorted(cache.keys()))
