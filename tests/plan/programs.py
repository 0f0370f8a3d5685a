"""Random small programs, and a world to run them in that notes everything they do to the values they were given.

A value is a `Thing`: it can be called, iterated, entered, raised through, and every decision it makes (true or false,
how many items, whether it swallows an exception) comes from one fixed sequence. So two runs of a program differ only
if the names they found differ.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NAMES = ("a", "b", "c", "d")
"""Names that the notebook has, and that programs read, bind and delete."""

MADE = ("K", "g")
"""Names of decorated functions and of classes: never read, so that no body runs before its own name is bound."""


@dataclass
class ContainerRoot:
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

    world: ContainerRoot
    label: str

    def __init__(self, world: ContainerRoot, label: str) -> None:
        self.__dict__.update(world=world, label=label)  # past __setattr__, which belongs to programs

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

    def __sub__(self, other: Any) -> Thing:
        return self.world.thing(f"{self.label}-{shown(other)}")

    __rsub__ = __sub__

    def __bool__(self) -> bool:
        return bool(self.world.decide(2))

    def __iter__(self) -> Iterator[Thing]:
        return iter([self.world.thing(f"{self.label}#{n}") for n in range(self.world.decide(4))])

    def __lt__(self, other: Any) -> Thing:
        return self.world.thing(f"{self.label}<{shown(other)}")

    def __enter__(self) -> Thing:  # noqa: PYI034 - it is another one
        return self.world.thing(f"enter {self.label}")

    def __exit__(self, *error: object) -> bool:
        return bool(self.world.decide(2))


def shown(value: Any) -> str:
    """A value as the log has it: no addresses, nothing that calls back into the program."""
    return value.label if isinstance(value, Thing) else type(value).__name__


def run(source: str, names: frozenset[str]) -> tuple[ContainerRoot, dict[str, Any], str]:
    """Run a program in a notebook that has only these of NAMES: what happened, the namespace, how it ended."""
    world = ContainerRoot()
    namespace: dict[str, Any] = {name: Thing(world, name) for name in NAMES if name in names}
    offered = {"Exception": Exception, "nullcontext": _same, "few": _Few()}
    namespace["__builtins__"] = {**offered, "__build_class__": __build_class__, "__import__": __import__}
    namespace["__name__"] = "cell"
    end = "end"
    try:
        exec(compile(source, "<cell>", "exec", dont_inherit=True), namespace)
    except Exception as error:  # noqa: BLE001 - however the program ended is its result
        end = re.sub(r"0x\w+", "address", f"{type(error).__name__}: {error}")
    return world, namespace, end


class _Few:
    """What keeps loops short: `few(values)` is at most three of them, and `few` itself is true 20 times."""

    def __init__(self) -> None:
        self.left = 20

    def __bool__(self) -> bool:
        self.left -= 1
        return self.left > 0

    def __call__(self, values: Any) -> Iterator[Any]:
        return itertools.islice(iter(values), 3)


@contextlib.contextmanager
def _same(value: object = None) -> Iterator[object]:
    """`contextlib.nullcontext`, which swallows nothing."""
    yield value


EXPRESSIONS = (
    *("@n", "(@n := @e)", "(@e - @e)", "(@e and @e)", "(@e if @e else @e)", "(@e < @e < @e)", "f'{@e}'", "(@e).m"),
    *("(@e)[@e]", "[@e for @n in @e if @e]", "{@e for @n in @n for @n in @n}", "{(@e, 1)[1]: @e}"),
    *("(lambda @n, p=@e: @q)", "@n(@e)"),
)
"""`@n` is a name, `@e` an expression, `@q` one without calls."""

SIMPLE = (
    *("@e", "@n = @e", "@n, *@n = @e", "@n = @n.m = @e", "@n[@e] = @e", "@n -= @e", "@n: @e = @e", "@n: @n", "del @n"),
    *("del @n[@e]", "import math as @n", "raise Exception(@e)", "assert @e, @e", "@j", "@r"),
)
"""`@j` is a jump if there is a loop, `@r` a return if there is a function."""

COMPOUND = (
    "if @e:\n    @b\nelse:\n    @b",
    "if @e:\n    @b",
    "for @n in few(@e):\n    @l\nelse:\n    @b",
    "while @e and few:\n    @l",
    "try:\n    @b\nexcept Exception as @n:\n    @b\nelse:\n    @b\nfinally:\n    @c",
    "try:\n    @b\nexcept Exception:\n    @b",
    "with @e as @n, @n as @n.m:\n    @b",
    "with nullcontext(@e) as @n:\n    @b",
    "match @e:\n    case [@n, *_] if @e:\n        @b\n    case _:\n        @b",
    "match @e:\n    case None:\n        @b",
    "def @n(p, @n=@e):\n    global @n\n    @f",
    "def @n(p, @n=@e):\n    @f",
    "@@n\ndef g(@n=@e):\n    @f",
    "class K:\n    global @n\n    @c",
    "class K:\n    @c",
)
"""`@b` is a block, `@l` a loop's, `@f` a function's, `@c` one that nothing may jump out of."""


@dataclass
class Grammar:
    """Draws from the tables. Functions make no calls, so that none calls another without end."""

    draw: Callable[[Any], Any]
    in_loop: bool = False
    in_function: bool = False
    quiet: bool = False

    def pick(self, forms: Sequence[str]) -> str:
        return str(self.draw(st.sampled_from(forms)))

    def expression(self, depth: int) -> str:
        forms = EXPRESSIONS[:-1] if self.quiet or self.in_function else EXPRESSIONS
        return self.filled(self.pick(forms) if depth else "@n", depth)

    def statement(self, depth: int) -> str:
        return self.filled(self.pick((*SIMPLE, *COMPOUND) if depth else SIMPLE), depth)

    def block(self, depth: int, longest: int) -> str:
        return "\n".join(self.statement(depth) for _ in range(self.draw(st.integers(1, longest))))

    def filled(self, form: str, depth: int) -> str:
        """A form with each `@x` in it replaced; a block takes over the indentation of its mark."""

        def part(mark: re.Match[str]) -> str:
            indent, kind = mark[1] or "", mark[2]
            return indent + self.part(kind, depth).replace("\n", "\n" + indent)

        return re.sub(r"(^ +)?@([a-z])", part, form, flags=re.MULTILINE)

    def part(self, kind: str, depth: int) -> str:
        match kind:
            case "n":
                return self.pick(NAMES)
            case "e":
                return self.expression(min(depth, 2) - 1 if depth else 0)
            case "q":
                return replace(self, quiet=True).expression(max(depth - 1, 0))
            case "j":
                return self.pick(("break", "continue")) if self.in_loop else "pass"
            case "r":
                return f"return {self.expression(1)}" if self.in_function else "pass"
        inside = {
            "b": self,
            "l": replace(self, in_loop=True),
            "c": replace(self, in_loop=False),
            "f": replace(self, in_loop=False, in_function=True),
        }
        return inside[kind].block(depth - 1, 2)


@st.composite
def programs(draw: Callable[[Any], Any]) -> str:
    """The source of a program of a few statements."""
    return Grammar(draw).block(3, 4)
