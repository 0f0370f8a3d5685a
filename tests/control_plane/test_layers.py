"""What the lines of an image's layer mean here. The lines are those that the SDK writes."""

from __future__ import annotations

import pytest

from modal_gpu_magic.control_plane.layers import Layer, PipInstall, read_install, read_layer


@pytest.mark.parametrize(
    ("command", "install"),
    [
        ("python -m pip install torch", PipInstall(("torch",))),
        ("python -m pip install 'numpy<2' torch==2.1", PipInstall(("numpy<2", "torch==2.1"))),
        ("pip install einops", PipInstall(("einops",))),
        ("/usr/bin/pip3 install einops", PipInstall(("einops",))),
        ("uv pip install --system einops", PipInstall(("einops",))),
        (
            "/.uv/uv pip install --python $(command -v python) --compile-bytecode 'a>=1' b",
            PipInstall(("a>=1", "b")),
        ),
        (
            "python -m pip install torch --index-url https://x/cu128 --pre",
            PipInstall(("torch",), ("--index-url", "https://x/cu128", "--pre")),
        ),
        ("pip install --index-url=https://x a", PipInstall(("a",), ("--index-url", "https://x"))),
        ("uv pip install --prerelease allow a", PipInstall(("a",), ("--pre",))),
        ("uv pip install --prerelease=allow a", PipInstall(("a",), ("--pre",))),
        ("pip install flash-attn --no-build-isolation", PipInstall(("flash-attn",), ("--no-build-isolation",))),
        ("pip install -r /.requirements.txt", PipInstall(requirements=("a\nb\n",))),
        ("pip install --requirements /nowhere.txt", None),
        ("pip install --upgrade pip==23.3 wheel uv==0.4", PipInstall(options=("--upgrade",))),
        ("pip freeze", None),
        ("apt-get install -y git", None),
        ("pip install 'unbalanced", None),
        ("", None),
    ],
)
def test_read_install(command: str, install: PipInstall | None) -> None:
    assert read_install(command, {"/.requirements.txt": "a\nb\n"}) == install


@pytest.mark.parametrize(
    ("commands", "layer"),
    [
        (
            [
                "FROM python:3.11.9-slim-bookworm",
                "RUN apt-get update",
                "RUN apt-get install -y gcc gfortran build-essential",
                "RUN pip install --upgrade pip wheel uv",
                "RUN echo 'debconf debconf/frontend select Noninteractive' | debconf-set-selections",
                'CMD ["sleep", "172800"]',
            ],
            Layer(),
        ),
        (["FROM base", "RUN python -m pip install torch"], Layer(installs=(PipInstall(("torch",)),))),
        (
            ["FROM base", "RUN apt-get update", "RUN apt-get install -y git"],
            Layer(not_applied=("RUN apt-get install -y git",)),
        ),
        (["FROM base", "ENV A=1 B='x y'", "ENV C 2 3"], Layer((("A", "1"), ("B", "x y"), ("C", "2 3")))),
        (
            ["FROM nvidia/cuda:12.8.0-devel-ubuntu22.04", "ENTRYPOINT []"],
            Layer(not_applied=("FROM nvidia/cuda:12.8.0-devel-ubuntu22.04",)),
        ),
        (
            ["FROM base", "RUN pip install a && \\\n  make all && pip install b"],
            Layer(installs=(PipInstall(("a",)), PipInstall(("b",))), not_applied=("RUN make all",)),
        ),
        (
            [
                "FROM base",
                "COPY /.requirements.txt /.requirements.txt",
                "RUN python -m pip install -r /.requirements.txt",
            ],
            Layer(installs=(PipInstall(requirements=("a\n",)),)),
        ),
        (
            [
                "FROM base",
                "COPY /.requirements.txt /.uv/0/r.txt",
                "RUN /.uv/uv pip install --requirements /.uv/0/r.txt",
            ],
            Layer(installs=(PipInstall(requirements=("a\n",)),)),
        ),
        (["FROM base", "WORKDIR /data"], Layer(not_applied=("WORKDIR /data",))),
    ],
)
def test_read_layer(commands: list[str], layer: Layer) -> None:
    assert read_layer(commands, {"/.requirements.txt": "a\n"}) == layer
