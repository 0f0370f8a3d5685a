"""What the lines of an image's layer mean here. The lines are those that the SDK writes."""

from __future__ import annotations

import pytest

from modal_gpu_magic.control_plane.images.installs import PipInstall, is_nvidia_only, read_install, without_cuda
from modal_gpu_magic.control_plane.images.layers import Copy, Layer, read_layer


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
        (["FROM base", "COPY . /"], Layer(copies=(Copy((".",), "/"),))),
        (["FROM base", "COPY a 'b c' /d/"], Layer(copies=(Copy(("a", "b c"), "/d/"),))),
        (["FROM base", "COPY *.txt /d/"], Layer(not_applied=("COPY *.txt /d/",))),
        (["FROM base", "COPY --from=x a b"], Layer(not_applied=("COPY --from=x a b",))),
    ],
)
def test_read_layer(commands: list[str], layer: Layer) -> None:
    assert read_layer(commands, {"/.requirements.txt": "a\n"}) == layer


@pytest.mark.parametrize(
    ("copy", "path", "target"),
    [
        (Copy((".",), "/"), "/root/data/a.txt", "/root/data/a.txt"),
        (Copy(("/",), "/opt"), "/a.txt", "/opt/a.txt"),
        (Copy(("data",), "/d"), "/data/sub/a.txt", "/d/sub/a.txt"),
        (Copy(("data",), "d/"), "/data/a.txt", "/d/a.txt"),
        (Copy(("data/a.txt",), "/b.txt"), "/data/a.txt", "/b.txt"),
        (Copy(("data/a.txt",), "/d/"), "/data/a.txt", "/d/a.txt"),
        (Copy(("x", "a.txt"), "/d"), "/a.txt", "/d/a.txt"),
        (Copy(("data",), "/d"), "/database/a.txt", None),
        (Copy(("a.txt",), "/d"), "/data/a.txt", None),
    ],
)
def test_where_a_copied_file_goes(copy: Copy, path: str, target: str | None) -> None:
    assert copy.of(path) == target


@pytest.mark.parametrize(
    ("requirement", "alone"),
    [
        ("flash-attn", True),
        ("Flash_Attn==2.8", True),
        ("https://host/v2/flash_attn-2.8.3+cu12torch2.9-cp312-cp312-linux_x86_64.whl", True),
        ("nvidia-cublas-cu12", True),
        ("vllm>=0.9", True),
        ("torch", False),
        ("nvitop", False),
        ("jax[cuda12]", False),
    ],
)
def test_what_is_for_nvidia_gpus_alone(requirement: str, alone: bool) -> None:
    assert is_nvidia_only(requirement) is alone


def test_extras_for_cuda_are_left_out() -> None:
    assert [without_cuda(each) for each in ("jax[cuda12]==0.9", "a[cpu]", "b")] == ["jax==0.9", "a[cpu]", "b"]
