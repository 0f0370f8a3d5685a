"""The help names everything there is, in lines that fit."""

from __future__ import annotations

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.catalog.images import PRESETS
from modal_gpu_magic.line.help import WIDTH, help_text
from modal_gpu_magic.line.options import OPTIONS


def test_help_has_every_option_gpu_and_preset() -> None:
    text = " ".join(help_text().split())
    for option in OPTIONS.values():
        assert f"{option.usage} {option.help}" in text
        assert option.default in text
    for word in (*GPUS, *PRESETS):
        assert word in text


def test_help_fits() -> None:
    assert max(map(len, help_text().splitlines())) <= WIDTH


def test_the_table_is_whole() -> None:
    for flag, option in OPTIONS.items():
        assert option.flag == flag
        assert flag.startswith("--")
        assert option.scope in ("where", "how")
        assert option.help
        assert not option.help.endswith(".")
        assert option.is_flag is not bool(option.kind.metavar)
