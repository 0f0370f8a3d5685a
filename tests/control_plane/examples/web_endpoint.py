"""A web endpoint, which needs an address in the internet."""

import modal

app = modal.App("web-endpoint")


@app.function()
@modal.fastapi_endpoint(docs=True)
def greet(name: str = "you") -> str:
    return f"Hello, {name}"


@app.local_entrypoint()
def main() -> None:
    print("never")
