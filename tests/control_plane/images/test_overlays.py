"""Overlays of packages, with real pip and wheels made here: what is missing is added, the environment is left alone."""

from __future__ import annotations

import asyncio
import importlib.metadata
from pathlib import Path

import pytest

from modal_gpu_magic.control_plane.images import overlays
from modal_gpu_magic.control_plane.images.installs import PipInstall
from tests.control_plane.wheels import make_wheel

CLOUDPICKLE = importlib.metadata.version("cloudpickle")


@pytest.mark.parametrize(
    ("packages", "satisfied"),
    [
        (("cloudpickle",), True),
        (("Cloud.Pickle",), False),
        (("CloudPickle",), True),
        (("cloudpickle", "modal"), True),
        ((f"cloudpickle=={CLOUDPICKLE}",), True),
        (("cloudpickle>=1", "modal"), True),
        (("cloudpickle==0.1",), False),
        (("cloudpickle", "mgm-not-there"), False),
        (("cloudpickle @ https://x/y.whl",), False),
        (("not a requirement",), False),
        ((), True),
    ],
)
def test_what_is_here_already(packages: tuple[str, ...], satisfied: bool) -> None:
    assert overlays.satisfied(PipInstall(packages), []) is satisfied


@pytest.mark.parametrize("install", [PipInstall(("modal",), ("--upgrade",)), PipInstall(requirements=("modal\n",))])
def test_what_only_pip_can_tell(install: PipInstall) -> None:
    assert not overlays.satisfied(install, [])


def test_an_overlay_below_counts(tmp_path: Path) -> None:
    (tmp_path / "mgm_extra-2.0.dist-info").mkdir()
    assert overlays.satisfied(PipInstall(("mgm-extra>=2",)), [str(tmp_path)])
    assert not overlays.satisfied(PipInstall(("mgm-extra>=3",)), [str(tmp_path)])


def test_the_place_of_an_overlay_is_what_it_is_made_from() -> None:
    one = PipInstall(("a",))
    places = {overlays.overlay_path(*each) for each in ((one, []), (one, ["x"]), (PipInstall(("b",)), []))}
    assert len(places) == 3
    assert overlays.overlay_path(one, []) == overlays.overlay_path(PipInstall(("a",)), [])


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of wheels that pip knows, and a cache of our own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    make_wheel(tmp_path, "mgm_top", "1.0", requires="mgm_dependency")
    make_wheel(tmp_path, "mgm_dependency", "1.5")
    make_wheel(tmp_path, "cloudpickle", "99.0")
    return tmp_path


def test_what_is_missing_is_added_and_nothing_else(wheels: Path) -> None:
    said: list[str] = []
    install = PipInstall(("cloudpickle",), requirements=("mgm_top\n",))
    left = overlays.overlay_path(install, []).with_name(f"half-{overlays.overlay_path(install, []).name}-killed")
    left.mkdir(parents=True)
    path = Path(asyncio.run(overlays.build(install, [], {}, said.append)))
    assert sorted(entry.name for entry in path.glob("*.dist-info")) == [
        "mgm_dependency-1.5.dist-info",
        "mgm_top-1.0.dist-info",
    ]
    assert any("mgm_top" in line for line in said)
    assert wheels / "cache" in path.parents
    assert not left.exists(), "what a killed build left is removed"
    again: list[str] = []
    assert asyncio.run(overlays.build(install, [], {}, again.append)) == str(path)
    assert again == ["Installed before: cloudpickle\n"]


def test_another_version_goes_on_top_and_the_environments_stays(wheels: Path) -> None:
    path = asyncio.run(overlays.build(PipInstall(("cloudpickle==99.0",)), [], {}, lambda line: None))
    assert (Path(path) / "cloudpickle.py").read_text().startswith("VERSION = '99.0'")
    assert importlib.metadata.version("cloudpickle") == CLOUDPICKLE


def test_a_failure_has_pips_last_lines_and_leaves_nothing(wheels: Path) -> None:
    with pytest.raises(overlays.BuildFailed, match="No matching distribution found for mgm-not-there"):
        asyncio.run(overlays.build(PipInstall(("mgm-not-there",)), [], {}, lambda line: None))
    assert [
        entry for entry in (wheels / "cache").rglob("*") if entry.is_dir() and entry.parent.name == "overlays"
    ] == []
