"""The cache Volume: kept between sessions, HF_HOME and TORCH_HOME lead to it, and it can be refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.kernel import Kernel

SEEN = "import os\nprint(os.environ.get('HF_HOME'), os.environ.get('TORCH_HOME'))"


def test_downloads_outlive_the_session_and_the_cache_can_be_refused(fresh: Kernel) -> None:
    kept = fresh.home / "data" / "modal_gpu_magic" / "volumes" / "modal-gpu-magic-cache"
    written = fresh.remote(
        "import os, pathlib\nplace = pathlib.Path(os.environ['HF_HOME'])\nplace.mkdir(parents=True, exist_ok=True)\n"
        "_ = (place / 'weights').write_text('large')"
    )
    assert written.error == ""
    assert (kept / "huggingface" / "weights").read_text() == "large"

    fresh.run("%modal_gpu stop")
    again = fresh.remote("import os, pathlib\npathlib.Path(os.environ['HF_HOME'], 'weights').read_text()")
    assert again.value() == "'large'"

    refused = fresh.run("%config ModalGpu.cache = False")
    assert refused.ok, refused.error
    here = fresh.remote(SEEN, "")
    assert "New machine" not in here.said, "what runs goes on with the cache it has"
    assert here.stdout == f"{kept}/huggingface {kept}/torch\n"

    fresh.run("%modal_gpu stop")
    assert fresh.remote(SEEN, "").stdout == "None None\n"
