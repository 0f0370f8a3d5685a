"""The package's face: what it names exists, is documented, and is all there is."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import pkgutil
from pathlib import Path

import pytest

import modal_gpu_magic

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(modal_gpu_magic.__path__, "modal_gpu_magic.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", modal_gpu_magic.__all__)
def test_a_public_name_loads(name: str) -> None:
    assert getattr(modal_gpu_magic, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'modal_gpu_magic' has no attribute 'Nothing'"):
        modal_gpu_magic.Nothing  # noqa: B018


def test_the_version_is_the_distribution_s() -> None:
    assert importlib.metadata.version("modal-gpu-magic") == modal_gpu_magic.__version__


def test_the_package_is_typed() -> None:
    assert Path(modal_gpu_magic.__file__).with_name("py.typed").exists()


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_lives_there(name: str) -> None:
    assert importlib.import_module(name).__doc__, f"{name} has no docstring"


@pytest.mark.parametrize("name", [name for name in MODULES if "control_plane" not in name])
def test_an_exported_name_exists_and_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):
        value = getattr(module, public)
        documented = not (inspect.isclass(value) or inspect.isroutine(value)) or inspect.getdoc(value)
        assert documented, f"{name}.{public} has no docstring"
