"""Packages that were installed from a directory travel as source, and are never asked from an index by their name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.plan.cell.names import analyse
from modal_gpu_magic.session.project.modules import LocalModules
from modal_gpu_magic.session.project.needs import needs

NAME = "humanize"
"""A name that PyPI has, for somebody else's package."""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a package as pip does, from a place that PEP 610 notes."""
    site = tmp_path / "site-packages"
    monkeypatch.syspath_prepend(site)

    def install(url: str | None, *, compiled: bool = False, **info: object) -> None:
        facts, code = site / f"{NAME}-9.9.dist-info", site / NAME
        facts.mkdir(parents=True)
        code.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 9.9\n")
        (facts / "top_level.txt").write_text(f"{NAME}\n")
        (facts / "INSTALLER").write_text("pip\n")
        (code / "__init__.py").write_text("import numpy\nfrom . import rules")
        (code / "rules.py").write_text("MINE = True")
        if compiled:
            (code / "fast.so").write_bytes(b"\x7fELF")
        if url is not None:
            (facts / "direct_url.json").write_text(json.dumps({"url": url, **info}))

    return install


def test_a_directory_travels_as_source(install: Callable[..., None]) -> None:
    install("file:///home/me/humanize", dir_info={})
    local = LocalModules()
    found = needs(analyse(f"import {NAME}"), {}, local)
    assert NAME not in " ".join(found.packages)
    assert [package.partition("=")[0] for package in found.packages] == ["numpy"]
    sent = local.outgoing([NAME])
    assert sent is not None
    assert sent.paths == (f"{NAME}/__init__.py", f"{NAME}/rules.py")


def test_compiled_code_is_refused_with_the_way_out(install: Callable[..., None]) -> None:
    install("file:///home/me/humanize", compiled=True, dir_info={})
    with pytest.raises(
        TransferError, match=r"installed from /home/me/humanize and has compiled code.*--no-in humanize"
    ):
        LocalModules().outgoing([NAME])
    assert needs(analyse(f"import {NAME}"), {}, LocalModules(), [NAME]).packages == ()


def test_a_container_that_shares_the_packages_gets_nothing(install: Callable[..., None]) -> None:
    install("file:///home/me/humanize", compiled=True, dir_info={})
    local = LocalModules(shares_packages=True)
    assert needs(analyse(f"import {NAME}"), {}, local).packages == ()
    assert local.outgoing([NAME]) is None


def test_a_commit_is_asked_by_its_address(install: Callable[..., None]) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    install("https://github.com/me/humanize", vcs_info={"vcs": "git", "commit_id": commit})
    found = needs(analyse(f"import {NAME}"), {}, LocalModules())
    assert found.packages == (f"{NAME} @ git+https://github.com/me/humanize@{commit}",)


def test_an_index_is_asked(install: Callable[..., None]) -> None:
    install(None)
    assert needs(analyse(f"import {NAME}"), {}, LocalModules()).packages == (f"{NAME}==9.9",)
