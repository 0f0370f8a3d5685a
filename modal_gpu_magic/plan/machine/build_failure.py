"""Explain a failed build of an image, or a failed install: the layer, the package at fault, what to change. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modal_gpu_magic.line.readers import package_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modal_gpu_magic.plan.machine.definition import Machine

LINES = 30
"""Lines of the log that are shown."""

_LAYER = re.compile(r"^(?:.{,20}\s)?(RUN .+)$", re.MULTILINE)
_MISSING = re.compile(r"(?:No matching distribution found for|that satisfies the requirement) ([^\s(]+)")
_UNKNOWN_DEBIAN = re.compile(r"Unable to locate package (\S+)")
_CONFLICT = re.compile(r"ResolutionImpossible|conflicting dependencies|conflicting requirements")
_COMPILES = re.compile(r"Failed (?:building wheel|to build)(?: for)? '?([\w.-]+)|Failed to build installable wheels")


def explain(log: str, machine: Machine, packages: Iterable[str]) -> str:
    """Return the message about a failed build.

    Args:
        log: the end of the build's log, or the error's text.
        machine: the machine whose image was built.
        packages: requirements of the cells' imports, at the notebook's versions.
    """
    layers = _LAYER.findall(log)
    layer = f" in its layer `{layers[-1].strip()}`" if layers else ""
    advice = _advice(log, machine, tuple(packages))
    last = "\n".join(log.strip().splitlines()[-LINES:])
    return f"the image could not be built{layer}: {advice}\n{last}"


def explain_install(log: str, machine: Machine, packages: Iterable[str]) -> str:
    """Return the message about packages that could not be installed into a running container.

    Args:
        log: the end of pip's log.
        machine: the machine that asks for the packages.
        packages: the packages, as `--pip` names them.
    """
    advice = _advice(log, machine, ())
    return f"pip could not install {', '.join(packages)} into the running container: {advice}\n{log}"


def _advice(log: str, machine: Machine, packages: tuple[str, ...]) -> str:
    if missing := _MISSING.search(log):
        return _of_package(missing[1], machine, packages)
    if unknown := _UNKNOWN_DEBIAN.search(log):
        return f"Debian has no package {unknown[1]}. Change --apt, or add its repository with --run."
    if _CONFLICT.search(log):
        return "the packages exclude each other. Ask for other versions with --pip, or leave one out."
    if _COMPILES.search(log):
        return (
            "a package has no wheel for this Python and must be compiled. Ask for a version that has one with --pip, "
            "or add what it needs: --apt build-essential."
        )
    return "the last lines of its log say why. Change --pip, --apt, --run or --image."


def _of_package(requirement: str, machine: Machine, packages: tuple[str, ...]) -> str:
    name = package_name(requirement)
    if name in {package_name(each) for each in machine.pip}:
        return f"there is no {requirement} for this Python on Linux. Ask for another version: --pip {name}."
    if name in {package_name(each) for each in packages}:
        return (
            f"there is no {requirement} for Linux, the version of this notebook, which the image asks for because a "
            f"cell imports it. Ask for another version: --pip {name}; or install that version in the notebook, too."
        )
    return f"there is no {requirement} for this Python on Linux. Ask for a version that exists: --pip {name}==VERSION."
