"""A generator whose items come while it runs, and calls that are gathered."""

from collections.abc import Iterator

import modal

app = modal.App("streaming")


@app.function()
def words(text: str) -> Iterator[str]:
    yield from text.split()


@app.function()
@modal.concurrent(max_inputs=4)
async def wait(x: int) -> int:
    import asyncio

    await asyncio.sleep(0.1)
    return x * 10


@app.local_entrypoint()
def main() -> None:
    print(*words.remote_gen("one two three"), sep="-")
    print(modal.FunctionCall.gather(*(wait.spawn(x) for x in range(4))))
