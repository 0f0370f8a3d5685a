"""The packages that a cell installs itself."""

from __future__ import annotations

import pytest

from modal_gpu_magic.plan.cell.pip_lines import installed_by


@pytest.mark.parametrize(
    "source, packages",
    [
        ("!pip install einops", ("einops",)),
        ("x = 1\n%pip install -q einops tqdm==4.66  # bars", ("einops", "tqdm==4.66")),
        ("  !python -m pip install -U 'torch>=2'", ("torch>=2",)),
        ("!uv pip install einops\n!pip3 install tqdm einops", ("einops", "tqdm")),
        ("!pip install -r requirements.txt --index-url https://x.org/simple einops", ("einops",)),
        ("!pip install -r requirements.txt", ()),
        ("!pip install -e .", ()),
        ("!pip install 'einops", ()),
        ("!pip list", None),
        ("'pip install einops'", None),
        ("# !pip install einops", None),
    ],
)
def test_pip_lines(source: str, packages: tuple[str, ...] | None) -> None:
    assert installed_by(source) == packages
