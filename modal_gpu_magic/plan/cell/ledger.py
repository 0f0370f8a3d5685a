"""The books kept while a cell is read in the order it runs: scopes entered, names surely bound so far, names found.

A global counts as read where the cell may look up the value the notebook gave it, and no more once the cell has bound
or deleted it on every way that leads there. Which ways there are is in `plan.cell.flow`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from modal_gpu_magic.plan.cell.scopes import Scope, mangled

if TYPE_CHECKING:
    from collections.abc import Iterator

_Key: TypeAlias = str | tuple[Scope, str]
"""A name whose binding is followed: a global's name, or a class body's own with its scope. Locals need no following."""

Bound: TypeAlias = set[_Key] | None
"""The names surely bound (or deleted: their old value is gone) at one point; None: the point is never reached."""

_IMPLIED = frozenset({"__module__", "__qualname__"})
"""Names a class body finds bound when it begins."""

_CONSTANT = "__debug__"
"""A name the compiler replaces by a constant."""


class Ledger:
    """What has been found so far. `bound` is the point the reader stands at; branches copy and join it.

    Attributes:
        reads: globals looked up. sure: those looked up at the top level where nothing in the cell had bound them yet.
        later: globals looked up in a function's body where nothing in the cell had bound them yet.
        starred: modules have been star-imported: any name may have been bound by that.
        binds, deletes: globals bound and unbound. mutates: globals whose value may be changed in place.
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
        """The class whose private names are written here."""
        return self.scopes[-1].owner

    @property
    def at_top(self) -> bool:
        """Whether code here runs in the cell's namespace itself."""
        return len(self.scopes) == 1

    @property
    def runs_now(self) -> bool:
        """Whether code here runs when the cell does: not in a function's body, not after a `raise`."""
        return not self._bodies and self.bound is not None

    # -- names ---------------------------------------------------------------------------------------------------------

    def load(self, name: str, *, mentioned: bool = False) -> None:
        """A name is looked up here; `mentioned`: only a string names it, so that the cell may do without it."""
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
        """A name is bound here."""
        name = mangled(name, self.owner)
        scope = self._home(name)
        if self.bound is None or scope.kind == "function":
            return
        if scope.kind == "module":
            self.binds.add(name)
        if name not in scope.deleted:
            self.bound.add(_key(scope, name))
        self._ever_bound.add(_key(scope, name))

    def delete(self, name: str) -> None:
        """A name is unbound here, which fails if it is not bound: deleting a value of the notebook's reads it."""
        if self._home(mangled(name, self.owner)).kind == "module":
            self.load(name)
        self.unbind(name)

    def unbind(self, name: str) -> None:
        """A name goes here, if it is there. A global's old value is as gone as if it were bound anew."""
        name = mangled(name, self.owner)
        scope = self._home(name)
        if self.bound is None:
            return
        if scope.kind == "module":
            self.deletes.add(name)
            self.bound.add(name)
            self._ever_bound.add(name)
        else:
            self.bound.discard(_key(scope, name))

    def touch(self, name: str) -> None:
        """The value under a name may be changed in place here."""
        name = mangled(name, self.owner)
        if self.bound is not None and self._finds_global(name):
            self.mutates.add(name)

    def _home(self, name: str) -> Scope:
        """The scope whose name a binding here binds."""
        for scope in self._visible():
            if name in scope.globals:
                break
            if name in scope.names:
                return scope
        return self.scopes[0]

    def _finds_global(self, name: str) -> bool:
        """Whether looking a name up here may find the global: also where a class body has not bound its own yet."""
        if self._is_implied(name):
            return False
        for scope in self._visible():
            if name in scope.globals:
                return True
            if name in scope.names and (scope.kind != "class" or (scope, name) in (self.bound or ())):
                return False
        return True

    def _is_implied(self, name: str) -> bool:
        """Whether Python itself binds the name here: in a class body, or `__class__` in its methods."""
        here, *around = reversed(self.scopes)
        if here.kind == "class":
            return name in (*_IMPLIED, _CONSTANT)
        return name == _CONSTANT or (name == "__class__" and any(scope.kind == "class" for scope in around))

    def _visible(self) -> Iterator[Scope]:
        """The scopes a name is looked up in, innermost first: a class's only from its own body and its annotations."""
        seen_through = True
        for scope in reversed(self.scopes):
            if scope.kind != "class" or seen_through:
                yield scope
            seen_through = seen_through and scope.kind == "annotation"

    def finds_builtin(self, name: str) -> bool:
        """Whether a name here leads past the cell's own bindings, to a builtin unless the notebook has bound it."""
        name = mangled(name, self.owner)
        return self._finds_global(name) and name not in self._ever_bound

    @contextmanager
    def globally(self) -> Iterator[None]:
        """Names of the notebook's, whatever block they are used in."""
        scopes, self.scopes = self.scopes, self.scopes[:1]
        yield
        self.scopes = scopes

    # -- ways through the cell -----------------------------------------------------------------------------------------

    def point(self) -> Bound:
        """Where the reader stands, to come back to with `ledger.bound = ...`."""
        return None if self.bound is None else set(self.bound)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Code that may not run: what it reads and binds counts, but afterwards nothing of it is sure."""
        point = self.point()
        yield
        self.bound = point

    @contextmanager
    def looping(self) -> Iterator[list[Bound]]:
        """A loop's body; yields the points where a `break` leaves the loop."""
        ends: list[Bound] = []
        self._loop_ends.append(ends)
        yield ends
        self._loop_ends.pop()

    def leave_loop(self) -> None:
        """A `break`."""
        self._loop_ends[-1].append(self.bound)
        self.bound = None

    @contextmanager
    def inside(self, scope: Scope) -> Iterator[None]:
        """Code of a block that runs at once."""
        self.scopes.append(scope)
        yield
        self.scopes.pop()

    @contextmanager
    def body(self, scope: Scope) -> Iterator[None]:
        """Code that runs when it is called: not before now, and by then the class it is written in is made."""
        with self.aside(), self.inside(scope):
            self._bodies += 1
            if self.bound is not None:
                self.bound.update(self._making)
            yield
            self._bodies -= 1

    @contextmanager
    def making(self, name: str) -> Iterator[None]:
        """A class's statement, until its name is bound."""
        name = mangled(name, self.owner)
        outer = self._making
        if self._home(name).kind == "module":
            self._making = [*outer, name]
        yield
        self._making = outer


def _key(scope: Scope, name: str) -> _Key:
    return name if scope.kind == "module" else (scope, name)


def join(points: list[Bound]) -> Bound:
    """The point where ways meet: surely bound is what is bound on each of them that is gone at all."""
    reached = [point for point in points if point is not None]
    return set.intersection(*reached) if reached else None
