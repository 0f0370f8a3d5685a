"""Where the libraries' downloads go: to the cache Volume, unless the user or the image says otherwise."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from modal_gpu_magic.container.state.cache import LOCAL_VOLUMES, settle
from modal_gpu_magic.wire.messages.cache import PATH

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "before, added",
    [
        ({LOCAL_VOLUMES: json.dumps({PATH: "/v"})}, {"HF_HOME": "/v/huggingface", "TORCH_HOME": "/v/torch"}),
        ({LOCAL_VOLUMES: json.dumps({PATH: "/v"}), "HF_HOME": "/mine"}, {"TORCH_HOME": "/v/torch"}),
        ({LOCAL_VOLUMES: json.dumps({"/d": "/v"})}, {}),
        ({LOCAL_VOLUMES: "{}"}, {}),
    ],
)
def test_the_variables_that_nobody_has_set(before: dict[str, str], added: dict[str, str]) -> None:
    environ = dict(before)
    settle(environ)
    assert environ == {**before, **added}


def test_in_the_cloud_it_is_where_it_is_mounted_or_nowhere(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    settle(environ, str(tmp_path / "nowhere"))
    assert environ == {}
    settle(environ, str(tmp_path))
    assert environ == {"HF_HOME": f"{tmp_path}/huggingface", "TORCH_HOME": f"{tmp_path}/torch"}
