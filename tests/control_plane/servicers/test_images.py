"""Images of the real SDK: what is installed, what is said in the build's log, how a build fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import modal
import pytest

from modal_gpu_magic.control_plane.containers.inherited import INHERITED
from tests.control_plane.conftest import OF_THE_KERNEL
from tests.control_plane.plane import Plane
from tests.control_plane.wheels import make_wheel


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages that no index has."""
    directory = tmp_path_factory.mktemp("wheels")
    make_wheel(directory, "mgm_layer", "1.0")
    make_wheel(directory, "mgm_second", "2.0", requires="mgm_layer")
    return directory


def call_in(image: modal.Image, client: Any, source: str) -> Any:
    """The value of an expression in a container of `image`."""
    app = modal.App("imaged", image=image)

    def evaluate(source: str) -> Any:
        scope: dict[str, Any] = {}
        exec(source, scope)
        return scope["result"]

    function = app.function(serialized=True, name="evaluate")(evaluate)
    with app.run(client=client):
        return function.remote(source)


def build_log(image: modal.Image, client: Any, capsys: pytest.CaptureFixture[str]) -> str:
    """What the SDK shows while it builds an image."""
    app = modal.App("built")
    with modal.enable_output(), app.run(client=client):
        image.build(app)
    return capsys.readouterr().out


def test_pip_layers_are_on_the_path_and_see_each_other(client: Any, wheels: Path) -> None:
    image = modal.Image.debian_slim().pip_install("mgm_layer", find_links=str(wheels), extra_options="--no-index")
    image = image.uv_pip_install("mgm_second", "cloudpickle", find_links=str(wheels))
    source = "import mgm_layer, mgm_second; result = mgm_layer.VERSION, mgm_second.VERSION, mgm_second.__file__"
    layer, second, file = call_in(image, client, source)
    assert (layer, second) == ("1.0", "2.0")
    assert "/modal_gpu_magic/overlays/" in file
    with pytest.raises(ModuleNotFoundError):
        call_in(modal.Image.debian_slim(), client, "import mgm_layer")


def test_the_log_of_a_build_says_what_is_done_and_what_is_not(client: Any, wheels: Path, capsys: Any) -> None:
    image = (
        modal.Image.from_registry("nvidia/cuda:12.8.0-devel-ubuntu22.04", add_python="3.11")
        .apt_install("git")
        .pip_install("cloudpickle")
        .pip_install("mgm_layer", find_links=str(wheels))
        .run_commands("make world")
    )
    log = build_log(image, client, capsys)
    for line in (
        "Not applied by the local backend: FROM nvidia/cuda:12.8.0-devel-ubuntu22.04",
        "Not applied by the local backend: RUN apt-get install -y git",
        "Not applied by the local backend: RUN make world",
        "Already installed: cloudpickle",
        "mgm_layer",
    ):
        assert line in log
    assert "debconf" not in log
    assert "Not applied" not in build_log(image, client, capsys), "built once, said once"


def test_a_failed_build_has_its_last_lines_and_can_be_tried_again(client: Any, wheels: Path) -> None:
    image = modal.Image.debian_slim().pip_install("mgm_later", find_links=str(wheels), extra_options="--no-index")
    with pytest.raises(modal.exception.RemoteError, match="No matching distribution found for mgm_later"):
        call_in(image, client, "result = 1")
    make_wheel(wheels, "mgm_later", "3.0")
    assert call_in(image, client, "import mgm_later; result = mgm_later.VERSION") == "3.0"


def test_variables_of_an_image_that_python_reads_at_its_start(client: Any, plane: Plane) -> None:
    """Another fork server has them from its start."""
    image = modal.Image.debian_slim().env({"PYTHONHASHSEED": "7", "WORD": "x"})
    source = "import os, sys; result = os.environ['WORD'], sys.flags.hash_randomization"
    assert call_in(image, client, source) == ("x", 1)
    source = "result = hash('a')"
    assert call_in(image, client, source) == call_in(image, client, source)


BACKEND = """
import json, os, pathlib

def build_wheel(*_, **__):
    pathlib.Path({seen!r}).write_text(json.dumps(dict(os.environ)))
    raise SystemExit("this package has no wheel")
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "mgm-curious"
version = "1.0"
"""


def test_the_build_of_a_package_sees_no_credentials(client: Any, tmp_path: Path) -> None:
    """Pip runs code of the package: on Modal, far from the kernel's environment."""
    source, seen = tmp_path / "source", tmp_path / "seen.json"
    source.mkdir()
    (source / "backend.py").write_text(BACKEND.format(seen=str(seen)))
    (source / "pyproject.toml").write_text(PROJECT)
    image = modal.Image.debian_slim().pip_install(str(source), secrets=[modal.Secret.from_dict({"OF_BUILD": "1"})])
    with pytest.raises(modal.exception.Error):
        call_in(image, client, "result = 1")
    environment = json.loads(seen.read_text())
    assert not set(environment) & (set(OF_THE_KERNEL) - set(INHERITED))
    assert environment["OF_BUILD"] == "1"
