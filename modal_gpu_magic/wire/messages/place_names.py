"""The names under which variables of the user's modules cross: `<config:cfg>`, which no variable has."""

from __future__ import annotations


def place_name(module: str, path: str) -> str:
    """Return the name of a place: `<config:cfg>`, `<nodes:Node.count>`."""
    return f"<{module}:{path}>"


def place_in(name: str) -> tuple[str, str] | None:
    """Return module and path of a place's name; None: the name is a variable's, or another placeholder."""
    module, colon, path = name[1:-1].partition(":")
    return (module, path) if colon and name[:1] == "<" and name[-1:] == ">" else None


def shown_place(name: str) -> str:
    """Return a place's name as a program would write it: `config.cfg`."""
    return ".".join(place_in(name) or (name,))


def top_level(name: str) -> str:
    """Return the top-level name of a place's module."""
    return (place_in(name) or ("",))[0].partition(".")[0]
