"""A function that fails twice and is tried again."""

import modal

app = modal.App("retries")


@app.function(retries=modal.Retries(max_retries=3, initial_delay=0.0, backoff_coefficient=1.0))
def flaky(tries: modal.Dict) -> str:
    tries["count"] = tries.get("count", 0) + 1
    if tries["count"] < 3:
        raise ConnectionError(f"try {tries['count']}")
    return f"done at try {tries['count']}"


@app.local_entrypoint()
def main() -> None:
    with modal.Dict.ephemeral() as tries:
        print(flaky.remote(tries))
