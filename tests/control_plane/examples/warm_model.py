"""A class whose model is loaded once a container, with other options in one place."""

import modal

app = modal.App("warm-model")


@app.cls(gpu="T4", scaledown_window=60)
class Model:
    name: str = modal.parameter(default="small")

    @modal.enter()
    def load(self) -> None:
        self.calls = 0

    @modal.method()
    def ask(self, question: str) -> str:
        self.calls += 1
        return f"{self.name} {question} {self.calls}"

    @modal.method()
    def gpu(self) -> str:
        import subprocess

        return subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout.split(" (")[0]


@app.function(timeout=60)
def plain() -> str:
    import os

    return os.environ.get("WHO", "nobody")


@app.local_entrypoint()
def main() -> None:
    model = Model(name="large")
    print(model.ask.remote("a"), "and", model.ask.remote("b"))
    print(Model.with_options(gpu="any")().gpu.remote(), "and", Model().gpu.remote())
    told = plain.with_options(secrets=[modal.Secret.from_dict({"WHO": "somebody"})])
    print(told.remote(), "and", plain.remote())
