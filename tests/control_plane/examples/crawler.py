"""Producer and consumers over a queue with partitions."""

import modal

app = modal.App("crawler")


@app.function()
def crawl(name: str, todo: modal.Queue, done: modal.Queue) -> None:
    while (page := todo.get(partition=name)) is not None:
        done.put(f"{name}{page}")


@app.local_entrypoint()
def main() -> None:
    with modal.Queue.ephemeral() as todo, modal.Queue.ephemeral() as done:
        for name in ("a", "b"):
            todo.put_many([1, 2, None], partition=name)
        list(crawl.starmap([(name, todo, done) for name in ("a", "b")]))
        print(sorted(done.get_many(10)))
