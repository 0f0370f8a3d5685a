"""What the image asks of an installed distribution: by its version, and by where it was installed from."""

from __future__ import annotations

import json

import pytest

from modal_gpu_magic.plan.cell.origins import origin
from modal_gpu_magic.plan.cell.requirements import requirement

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "name, version, asked",
    [
        ("pandas", "2.2.1", "pandas==2.2.1"),
        ("torch", "2.13.0+cpu", "torch==2.13.0"),
        ("torch", "2.13.0+cu128", "torch==2.13.0"),
        ("jaxlib", "0.7.0+cuda12.cudnn91", "jaxlib==0.7.0"),
        ("certifi", "2024.7.4.post1", "certifi==2024.7.4.post1"),
        ("numpy", "2.4.0rc1", "numpy==2.4.0rc1"),
        ("epoch", "1!2.0", "epoch==1!2.0"),
        ("yanked", "1.11.0", "yanked==1.11.0"),  # pip installs a yanked version that is asked exactly
        ("torch", "2.14.0.dev20260101+cu128", "torch"),  # nightly: an index of its own
        ("tool", "1.2.dev3", "tool"),
        ("old", "1.0-custom-build", "old"),
        ("unknown", None, "unknown"),
        ("pywin32", "308", None),
        ("pyobjc-framework-Cocoa", "11.0", None),
        ("tensorflow-macos", "2.16.2", None),
        ("conda", "25.1.0", None),
        ("libmambapy", "2.0.5", None),
    ],
)
def test_what_a_version_asks(name: str, version: str | None, asked: str | None) -> None:
    found = requirement(name, version)
    assert (str(found) if found else None) == asked


def direct(url: str, **info: object) -> str:
    return json.dumps({"url": url, **info})


@pytest.mark.parametrize(
    "text, installer, asked",
    [
        (None, "pip", "requests==2.0"),
        (direct("file:///home/me/requests", dir_info={}), "pip", None),
        (direct("file:///home/me/requests", dir_info={"editable": True}), "uv", None),
        (direct("file:///home/me/requests-2.0-py3-none-any.whl", archive_info={}), "pip", None),
        (direct("file:///C:/me/requests", dir_info={}), "pip", None),
        (direct("file:///croot/requests_1/work", dir_info={}), "conda\n", "requests==2.0"),
        (
            direct(
                "https://github.com/a/requests",
                vcs_info={"vcs": "git", "commit_id": COMMIT, "requested_revision": "main"},
            ),
            "pip",
            f"requests @ git+https://github.com/a/requests@{COMMIT}",
        ),
        (
            direct(
                "https://me:secret@github.com/a/b.git",
                vcs_info={"vcs": "git", "commit_id": COMMIT},
                subdirectory="python",
            ),
            "pip",
            f"requests @ git+https://github.com/a/b.git@{COMMIT}#subdirectory=python",
        ),
        (direct("ssh://git@github.com/a/b.git", vcs_info={"vcs": "git", "commit_id": COMMIT}), "pip", None),
        (
            direct("https://example.org/requests-2.0.tar.gz", archive_info={}),
            "pip",
            "requests @ https://example.org/requests-2.0.tar.gz",
        ),
        ("{", "pip", None),
        ("[]", "pip", None),
    ],
)
def test_what_an_origin_asks(text: str | None, installer: str, asked: str | None) -> None:
    """`requests` is a name that PyPI has: it is asked from there only if it came from there."""
    found = requirement("requests", "2.0", origin(text, installer))
    assert (str(found) if found else None) == asked
