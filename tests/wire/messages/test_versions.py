"""Versions of packages, and what is said of those that differ."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from modal_gpu_magic.wire.messages.versions import Version, explained, installed


def test_packages_are_found_by_module_and_all_else_is_left_out() -> None:
    found = installed(
        ["numpy.linalg", "numpy", "sklearn.linear_model", "torch", "os.path", "__main__", "builtins", "", "no_such"]
    )
    assert found == {
        "numpy": version("numpy"),
        "sklearn": version("scikit-learn"),
        "torch": version("torch").partition("+")[0],
    }


def test_the_pin_that_cures_it_or_what_to_do_here() -> None:
    assert Version("numpy", "2.1.3").unlike("1.26.4") == (
        "numpy is 2.1.3 in the notebook and 1.26.4 in the container: "
        'to match the versions, run %modal_gpu stop, then use --pip "numpy==2.1.3"'
    )
    assert "`" not in Version("torch", "2.13.0", pinnable=False).unlike("2.14.0")
    assert 'pip install "torch==2.14.0" in the notebook' in Version("torch", "2.13.0", pinnable=False).unlike("2.14.0")


@pytest.mark.parametrize(
    "why, unlike, said",
    [
        ("needs numpy.x", {"numpy": "N", "torch": "T"}, "needs numpy.x; N"),
        ("needs numpyro", {"numpy": "N", "torch": "T"}, "needs numpyro; N; T"),
        ("could not be loaded", {"numpy": "N", "torch": "T"}, "could not be loaded; N; T"),
        ("needs x", {}, "needs x"),
    ],
)
def test_a_reason_names_the_versions_that_may_be_to_blame(why: str, unlike: dict[str, str], said: str) -> None:
    assert explained(why, unlike) == said
