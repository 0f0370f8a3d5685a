"""Find the packages that were installed from a directory of this machine (`pip install .`): no index has them."""

from __future__ import annotations

import functools
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.cell.origins import origin
from modal_gpu_magic.plan.cell.requirements import INDEX, OWN
from modal_gpu_magic.session.project.installed import stamps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modal_gpu_magic.plan.cell.requirements import Origin


def origin_of(name: str) -> Origin:
    """Return where a distribution was installed from."""
    try:
        return _origin(distribution(name))
    except PackageNotFoundError:
        return INDEX


def source_of(module: str) -> str:
    """Return the directory or file that an installed module's package came from; empty: an index or an address."""
    return _sources(stamps()).get(module, "")


@functools.lru_cache(maxsize=1)
def _sources(folders: tuple[tuple[str, int], ...]) -> Mapping[str, str]:  # noqa: ARG001 - the key of the cache
    """The place of each such module. Read again after a package was installed or removed."""
    found: dict[str, str] = {}
    for each in distributions():
        place = _origin(each)
        if place.is_local and str(each.name).lower() not in OWN:
            found.update(dict.fromkeys(_modules(each), place.place))
    return found


def _modules(found: Distribution) -> Iterator[str]:
    """Yield the top-level modules of a distribution, from its list of files."""
    yield from (found.read_text("top_level.txt") or "").split()
    for file in found.files or ():
        top = file.parts[0]
        if len(file.parts) == 1 and top.endswith(".py"):
            yield top.removesuffix(".py")
        elif len(file.parts) > 1 and file.suffix == ".py":
            yield top


def _origin(found: Distribution) -> Origin:
    direct_url = found.read_text("direct_url.json")
    return INDEX if direct_url is None else origin(direct_url, found.read_text("INSTALLER"))
