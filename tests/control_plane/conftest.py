"""One server and one client a module, in directories of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.control_plane.plane import CANCEL_GRACE_SECONDS, Plane

OF_THE_KERNEL = {
    "AWS_SECRET_ACCESS_KEY": "a" * 40,
    "GITHUB_TOKEN": "ghp_" + "a" * 36,
    "HF_TOKEN": "hf_" + "a" * 30,
    "JPY_PARENT_PID": "1",
    "KERNEL_OWN": "not for containers",
    "LC_TIME": "C.UTF-8",
    "MODAL_TOKEN_ID": "ak-of-the-user",
    "MODAL_TOKEN_SECRET": "as-of-the-user",
    "OMP_NUM_THREADS": "1",
    "PGPASSWORD": "c" * 20,
    "PYTHONHASHSEED": "7",
    "SSH_AUTH_SOCK": "/run/ssh",
    "TZ": "Asia/Tokyo",
    "WANDB_API_KEY": "b" * 40,
}
"""What the environment of a kernel may have, for the control plane to inherit."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The user's directories, as variables: nothing here touches the real ones."""
    base = tmp_path_factory.mktemp("user")
    names = ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
    return {name: str(base / name) for name in names}


@pytest.fixture(scope="module")
def plane(places: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A running control plane, with its working directory in a notebook's place."""
    notebook: Path = tmp_path_factory.mktemp("notebook")
    (notebook / "queue.py").write_text("raise RuntimeError('the notebook directory is not for the control plane')")
    plane = Plane({**places, **OF_THE_KERNEL}, "--cancel-grace", f"{CANCEL_GRACE_SECONDS}", cwd=notebook)
    yield plane
    plane.leave()


@pytest.fixture(scope="module")
def client(plane: Plane) -> Any:
    """A client of it."""
    return plane.client()
