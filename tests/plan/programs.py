"""Random small programs, and a world to run them in that notes everything they do to the values they were given.

A value is a `Thing`: it can be called, iterated, entered, raised through, and every decision it makes (true or false,
how many items, whether it swallows an exception) comes from one fixed sequence. So two runs of a program differ only
if the names they found differ.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = ("a", "b", "c", "d")
"""Names that the notebook has, and that programs read, bind and delete."""

MADE = ("K", "g")
"""Names of decorated functions and of classes: never read, so that no body runs before its own name is bound."""

Draw = Any


@dataclass
class World:
    """One run's decisions and everything that happened to its things, in order."""

    log: list[str] = field(default_factory=list)
    decisions: int = 0

    def decide(self, among: int) -> int:
        """The next decision. After 300 all are 0, so that every program ends."""
        self.decisions += 1
        return 0 if self.decisions > 300 else (self.decisions * 2654435761 >> 7) % among

    def thing(self, label: str) -> Thing:
        """A new value; its label says what it was made from."""
        self.log.append(label[-60:])
        return Thing(self, label[-60:])


class Thing:
    """A value that can stand anywhere in a program."""

    def __init__(self, world: World, label: str) -> None:
        self.__dict__.update(world=world, label=label)

    def __repr__(self) -> str:
        return self.label

    def __hash__(self) -> int:
        return 1  # sets of things keep the order they were made in

    def __getattr__(self, name: str) -> Thing:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.world.thing(f"{self.label}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        self.world.log.append(f"{self.label}.{name}={shown(value)}")

    def __call__(self, *args: Any) -> Thing:
        return self.world.thing(f"{self.label}({','.join(map(shown, args))})")

    def __getitem__(self, key: Any) -> Thing:
        return self.world.thing(f"{self.label}[{shown(key)}]")

    def __setitem__(self, key: Any, value: Any) -> None:
        self.world.log.append(f"{self.label}[{shown(key)}]={shown(value)}")

    def __delitem__(self, key: Any) -> None:
        self.world.log.append(f"del {self.label}[{shown(key)}]")

    def __add__(self, other: Any) -> Thing:
        return self.world.thing(f"{self.label}+{shown(other)}")

    __radd__ = __add__

    def __bool__(self) -> bool:
        return bool(self.world.decide(2))

    def __iter__(self) -> Iterator[Thing]:
        return iter([self.world.thing(f"{self.label}#{n}") for n in range(self.world.decide(4))])

    def __enter__(self) -> Thing:
        return self.world.thing(f"enter {self.label}")

    def __exit__(self, *error: object) -> bool:
        return bool(self.world.decide(2))


def shown(value: Any) -> str:
    """A value as the log has it: no addresses, nothing that calls back into the program."""
    return value.label if isinstance(value, Thing) else type(value).__name__


def run(source: str, names: frozenset[str]) -> tuple[World, dict[str, Any], str]:
    """Run a program in a notebook that has only these of NAMES: what happened, the namespace, how it ended."""
    world = World()
    namespace: dict[str, Any] = {name: Thing(world, name) for name in NAMES if name in names}
    namespace["__builtins__"] = {"Exception": Exception, "__build_class__": __build_class__, "nullcontext": _same}
    namespace["__builtins__"]["__import__"] = __import__
    namespace["__name__"] = "cell"
    end = "end"
    try:
        exec(compile(source, "<cell>", "exec", dont_inherit=True), namespace)
    except Exception as error:  # noqa: BLE001 - however the program ended is its result
        end = re.sub(r"0x\w+", "address", f"{type(error).__name__}: {error}")
    return world, namespace, end


@contextlib.contextmanager
def _same(value: object = None) -> Iterator[object]:
    """`contextlib.nullcontext`, which swallows nothing."""
    yield value


@st.composite
def programs(draw: Callable[[Any], Any]) -> str:
    """The source of a program of a few statements."""
    return "\n".join(_block(draw, 3, in_loop=False, in_function=False))


def _name(draw: Draw) -> str:
    return draw(st.sampled_from(NAMES))


def _block(draw: Draw, depth: int, *, in_loop: bool, in_function: bool, least: int = 1) -> list[str]:
    return [
        line
        for _ in range(draw(st.integers(least, 4 if depth == 3 else 2)))
        for line in _statement(draw, depth, in_loop, in_function)
    ]


def _indented(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


def _expression(draw: Draw, depth: int, *, calls: bool = True) -> str:
    """Functions make no calls, so that none calls another without end."""
    if depth <= 0:
        return _name(draw)
    inner = lambda: _expression(draw, depth - 1, calls=calls)  # noqa: E731 - forms below stay one line each
    x, y = _name(draw), _name(draw)
    forms: list[Callable[[], str]] = [
        lambda: x,
        lambda: f"({x} := {inner()})",
        lambda: f"({inner()} + {inner()})",
        lambda: f"({inner()} and {inner()})",
        lambda: f"({inner()} if {inner()} else {inner()})",
        lambda: f"[{inner()} for {x} in {inner()} if {inner()}]",
        lambda: f"{{{inner()} for {x} in {y} for {y} in {x}}}",
        lambda: f"{{({inner()}, 1)[1]: {inner()}}}",
        lambda: f"(lambda {x}, {x}{x}={inner()}: {_expression(draw, depth - 1, calls=False)})",
        lambda: f"f'{{{inner()}}}'",
        lambda: f"({inner()}).m",
        lambda: f"({inner()})[{inner()}]",
    ]
    if calls:
        forms.append(lambda: f"{x}({inner()})")
    return draw(st.sampled_from(forms))()


def _statement(draw: Draw, depth: int, in_loop: bool, in_function: bool) -> list[str]:  # noqa: PLR0915 - a grammar
    e = lambda: _expression(draw, 2, calls=not in_function)  # noqa: E731
    block = lambda loop=in_loop: _indented(_block(draw, depth - 1, in_loop=loop, in_function=in_function))  # noqa: E731
    x, y, z = _name(draw), _name(draw), _name(draw)
    simple: list[Callable[[], list[str]]] = [
        lambda: [e()],
        lambda: [f"{x} = {e()}"],
        lambda: [f"{x}, *{y} = {e()}"],
        lambda: [f"{x} = {y}.m = {e()}"],
        lambda: [f"{x}[{e()}] = {e()}"],
        lambda: [f"{x} += {e()}"],
        lambda: [f"{x}: {e()} = {e()}"] if not in_function else [f"{x} = {e()}"],
        lambda: [f"{x}: {y}"],
        lambda: [f"del {x}"],
        lambda: [f"del {x}[{e()}]"],
        lambda: [f"import math as {x}"],
        lambda: [f"raise Exception({e()})"],
        lambda: [f"assert {e()}, {e()}"],
        lambda: [draw(st.sampled_from(["break", "continue"]))] if in_loop else ["pass"],
        lambda: [f"return {e()}"] if in_function else ["pass"],
    ]
    if depth <= 0:
        return draw(st.sampled_from(simple))()
    compound: list[Callable[[], list[str]]] = [
        lambda: [f"if {e()}:", *block(), "else:", *block()],
        lambda: [f"if {e()}:", *block()],
        lambda: [f"for {x} in {e()}:", *block(True), "else:", *block()],
        lambda: [f"while {e()}:", *block(True)],
        lambda: ["try:", *block(), f"except Exception as {x}:", *block(), "else:", *block(), "finally:", *block(False)],
        lambda: ["try:", *block(), "except Exception:", *block()],
        lambda: [f"with {e()} as {x}, {y} as {z}.m:", *block()],
        lambda: [f"with nullcontext({e()}) as {x}:", *block()],
        lambda: [f"match {e()}:", f"    case [{x}, *_] if {e()}:", *_indented(block()), "    case _:", *_indented(block())],
        lambda: [f"match {e()}:", "    case None:", *_indented(block())],
        lambda: _function(draw, depth, in_function),
        lambda: _class(draw, depth),
    ]
    return draw(st.sampled_from([*simple, *compound]))()


def _function(draw: Draw, depth: int, in_function: bool) -> list[str]:
    x, y, z = _name(draw), _name(draw), _name(draw)
    declared = draw(st.sampled_from([f"    global {x}", "    pass"]))
    body = _indented(_block(draw, depth - 1, in_loop=False, in_function=True))
    default = _expression(draw, 1, calls=not in_function)
    head = draw(st.sampled_from([[f"def {z}(p, {y}={default}):"], [f"@{z}", f"def g({y}={default}):"]]))
    return [*head, declared, *body]


def _class(draw: Draw, depth: int) -> list[str]:
    declared = draw(st.sampled_from([f"    global {_name(draw)}", "    pass"]))
    return ["class K:", declared, *_indented(_block(draw, depth - 1, in_loop=False, in_function=False))]
