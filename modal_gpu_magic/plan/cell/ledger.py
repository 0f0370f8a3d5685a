"""Names bound, read and deleted so far, per scope, while a cell is visited in the order of execution.

A global counts as read if the cell may look up its value from before the cell, that is, unless the cell has bound or
deleted the name on every path to the lookup. `plan.cell.flow` follows the paths.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from modal_gpu_magic.plan.cell.scopes import Scope, mangled

if TYPE_CHECKING:
    from collections.abc import Iterator

_Key: TypeAlias = str | tuple[Scope, str]
"""A tracked name: a global's name, or a name of a class body with its scope. Locals are not tracked."""

Bound: TypeAlias = set[_Key] | None
"""The names definitely bound or deleted at a point of the cell; None: the point is unreachable."""

_IMPLIED = frozenset({"__module__", "__qualname__"})
"""Names that Python binds at the start of a class body."""

_CONSTANT = "__debug__"
"""A name that the compiler replaces by a constant."""


class Ledger:
    """The state of the analysis.

    Attributes:
        scopes: the nested scopes of the current point, outermost first.
        bound: names definitely bound at the current point; branches copy and join this set.
        reads: globals looked up.
        sure: globals looked up at the top level before any binding in the cell.
        later: globals looked up in a function's body before any binding in the cell.
        starred: a module was star-imported, which may have bound any name.
        binds: globals that may be bound.
        deletes: globals that may be deleted.
        mutates: globals whose value may be changed in place.
    """

    def __init__(self) -> None:
        self.scopes = [Scope("module")]
        self.bound: Bound = set()
        self.reads: set[str] = set()
        self.sure: set[str] = set()
        self.later: set[str] = set()
        self.binds: set[str] = set()
        self.deletes: set[str] = set()
        self.mutates: set[str] = set()
        self._ever_bound: set[_Key] = set()
        self.starred = False
        self._bodies = 0
        self._loop_ends: list[list[Bound]] = []
        self._making: list[str] = []

    @property
    def owner(self) -> str | None:
        """The class whose private names are mangled at the current point; None: no class."""
        return self.scopes[-1].owner

    @property
    def at_top(self) -> bool:
        """Whether the current point is at the top level of the cell."""
        return len(self.scopes) == 1

    @property
    def runs_now(self) -> bool:
        """Whether code at the current point runs with the cell: not in a function's body, not after a `raise`."""
        return not self._bodies and self.bound is not None

    # -- names ---------------------------------------------------------------------------------------------------------

    def load(self, name: str, *, mentioned: bool = False) -> None:
        """Record a lookup of a name; `mentioned`: only a string or an annotation has the name, so it may be unused."""
        name = mangled(name, self.owner)
        if self.bound is None or name in self.bound or not self._finds_global(name):
            return
        self.reads.add(name)
        if (
            not mentioned
            and not self.starred
            and not any(_key(scope, name) in self._ever_bound for scope in self._visible())
        ):
            (self.later if self._bodies else self.sure).add(name)

    def store(self, name: str) -> None:
        """Record a binding of a name."""
        name = mangled(name, self.owner)
        scope = self._binding_scope(name)
        if self.bound is None or scope.kind == "function":
            return
        if scope.kind == "module":
            self.binds.add(name)
        if name not in scope.deleted:
            self.bound.add(_key(scope, name))
        self._ever_bound.add(_key(scope, name))

    def delete(self, name: str) -> None:
        """Record a `del` of a name. A `del` of a global counts as a read, because it fails for an unbound name."""
        if self._binding_scope(mangled(name, self.owner)).kind == "module":
            self.load(name)
        self.unbind(name)

    def unbind(self, name: str) -> None:
        """Record a deletion of a name that may be unbound. A deleted global counts as bound."""
        name = mangled(name, self.owner)
        scope = self._binding_scope(name)
        if self.bound is None:
            return
        if scope.kind == "module":
            self.deletes.add(name)
            self.bound.add(name)
            self._ever_bound.add(name)
        else:
            self.bound.discard(_key(scope, name))

    def touch(self, name: str) -> None:
        """Record that the value of a name may be changed in place."""
        name = mangled(name, self.owner)
        if self.bound is not None and self._finds_global(name):
            self.mutates.add(name)

    def _binding_scope(self, name: str) -> Scope:
        """Return the scope in which a binding at the current point binds a name."""
        for scope in self._visible():
            if name in scope.globals:
                break
            if name in scope.names:
                return scope
        return self.scopes[0]

    def _finds_global(self, name: str) -> bool:
        """Whether a lookup may find the global; true in a class body that has not bound its own name yet."""
        if self._is_implied(name):
            return False
        for scope in self._visible():
            if name in scope.globals:
                return True
            if name in scope.names and (scope.kind != "class" or (scope, name) in (self.bound or ())):
                return False
        return True

    def _is_implied(self, name: str) -> bool:
        """Whether Python itself binds the name: in a class body, or `__class__` in methods."""
        inner, *around = reversed(self.scopes)
        if inner.kind == "class":
            return name in (*_IMPLIED, _CONSTANT)
        return name == _CONSTANT or (name == "__class__" and any(scope.kind == "class" for scope in around))

    def _visible(self) -> Iterator[Scope]:
        """Yield the scopes of a lookup, innermost first; a class scope only from its own body and annotations."""
        seen_through = True
        for scope in reversed(self.scopes):
            if scope.kind != "class" or seen_through:
                yield scope
            seen_through = seen_through and scope.kind == "annotation"

    def finds_builtin(self, name: str) -> bool:
        """Whether a lookup finds no binding of the cell, so finds a builtin unless the notebook has bound the name."""
        name = mangled(name, self.owner)
        return self._finds_global(name) and name not in self._ever_bound

    @contextmanager
    def globally(self) -> Iterator[None]:
        """Use the global scope inside the `with` block, whatever the current scope."""
        scopes, self.scopes = self.scopes, self.scopes[:1]
        yield
        self.scopes = scopes

    # -- control flow --------------------------------------------------------------------------------------------------

    def point(self) -> Bound:
        """Return a copy of `bound`, to restore with `ledger.bound = ...`."""
        return None if self.bound is None else set(self.bound)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Visit code that may not run: its reads and bindings count, but nothing is definitely bound afterwards."""
        point = self.point()
        yield
        self.bound = point

    @contextmanager
    def looping(self) -> Iterator[list[Bound]]:
        """Visit a loop's body; yields the list of points at which a `break` leaves the loop."""
        ends: list[Bound] = []
        self._loop_ends.append(ends)
        yield ends
        self._loop_ends.pop()

    def leave_loop(self) -> None:
        """Record a `break`."""
        self._loop_ends[-1].append(self.bound)
        self.bound = None

    @contextmanager
    def inside(self, scope: Scope) -> Iterator[None]:
        """Visit a block that runs immediately in a scope of its own."""
        self.scopes.append(scope)
        yield
        self.scopes.pop()

    @contextmanager
    def body(self, scope: Scope) -> Iterator[None]:
        """Visit a function's body, which runs later, when the enclosing class is defined."""
        with self.aside(), self.inside(scope):
            self._bodies += 1
            if self.bound is not None:
                self.bound.update(self._making)
            yield
            self._bodies -= 1

    @contextmanager
    def making(self, name: str) -> Iterator[None]:
        """Visit a class statement up to the binding of its name."""
        name = mangled(name, self.owner)
        outer = self._making
        if self._binding_scope(name).kind == "module":
            self._making = [*outer, name]
        yield
        self._making = outer


def _key(scope: Scope, name: str) -> _Key:
    return name if scope.kind == "module" else (scope, name)


def join(points: list[Bound]) -> Bound:
    """Join control-flow paths: a name is definitely bound if it is bound on every reachable path."""
    reached = [point for point in points if point is not None]
    return set.intersection(*reached) if reached else None
