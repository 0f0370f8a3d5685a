"""From imported modules to pinned distributions."""

from __future__ import annotations

import importlib.metadata
import re

import pytest

from modal_gpu_magic.line.readers import package_name
from modal_gpu_magic.plan.cell.requirements import Requirement, requirements

INSTALLED = {
    "pandas": ["pandas"],
    "sklearn": ["scikit-learn"],
    "yaml": ["PyYAML", "PyYAML"],
    "torch": ["torch"],
    "google": ["google-auth", "googleapis-common-protos"],
    "cv2": ["opencv-python"],
    "modal": ["modal"],
    "modal_gpu_magic": ["modal-gpu-magic"],
    "tools": ["tools"],
}
VERSIONS = {
    "pandas": "2.2.1",
    "scikit-learn": "1.5",
    "PyYAML": "6.0.2",
    "torch": "2.13.0+cpu",
    "google-auth": "2.1",
    "googleapis-common-protos": "1.0",
    "modal": "1.6.4",
    "modal-gpu-magic": "0.1.0",
}


@pytest.mark.parametrize(
    "modules, found",
    [
        ([], []),
        (["pandas"], ["pandas==2.2.1"]),
        (["torch", "pandas"], ["pandas==2.2.1", "torch==2.13.0"]),
        (["sklearn", "yaml"], ["pyyaml==6.0.2", "scikit-learn==1.5"]),
        (["google"], ["google-auth==2.1", "googleapis-common-protos==1.0"]),
        (["cv2"], ["opencv-python"]),
        (["os", "__future__", "xml"], []),
        (["modal", "modal_gpu_magic"], []),
        (["my_module"], []),
    ],
)
def test_requirements(modules: list[str], found: list[str]) -> None:
    assert [str(each) for each in requirements(modules, INSTALLED, VERSIONS.get)] == found


def test_what_is_installed_here() -> None:
    found = requirements(["IPython", "pytest"], importlib.metadata.packages_distributions(), importlib.metadata.version)
    assert [each.name for each in found] == ["ipython", "pytest"]
    assert all(re.fullmatch(r"[a-z]+==\d[\w.]*", str(each)) for each in found)


@pytest.mark.parametrize("name", ["", "-e", "--index-url", "../x", "a b", "Pandas", "a==1", "a-", "git+https://x"])
def test_a_name_that_pip_would_take_for_something_else(name: str) -> None:
    with pytest.raises(ValueError, match="no normalized name of a distribution"):
        Requirement(name)


@pytest.mark.parametrize("name", ["-e", "../x", ""])
def test_a_broken_distribution_is_left_out(name: str) -> None:
    assert requirements(["x"], {"x": [name]}, lambda _: "1") == ()


@pytest.mark.parametrize("name, normal", [("PyYAML", "pyyaml"), ("a_b..c--d", "a-b-c-d"), ("x", "x")])
def test_names_are_compared_as_the_index_does(name: str, normal: str) -> None:
    assert [each.name for each in requirements(["m"], {"m": [name]}, lambda _: None)] == [normal]
    assert package_name(f"{name}==1") == normal
