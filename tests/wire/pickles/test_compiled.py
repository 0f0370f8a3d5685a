"""What `torch.compile` has returned arrives as `torch.compile` would return it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch._dynamo

from modal_gpu_magic.wire.pickles.fingerprints import fingerprint
from modal_gpu_magic.wire.pickles.types.compiled import is_compiled
from modal_gpu_magic.wire.pickles.update_in_place import absorb
from tests.wire.carried import carried

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")

ARGUMENTS: dict[str, dict[str, Any]] = {
    "the default": {},
    "fullgraph": {"fullgraph": True},
    "dynamic": {"dynamic": True},
    "not dynamic": {"dynamic": False, "fullgraph": True},
    "a mode": {"mode": "reduce-overhead"},
    "options": {"options": {"max_autotune": True}},
    "another backend": {"backend": "eager"},
}


def made(factor: int) -> Any:
    """Return a function that pickle cannot find by its name."""

    def times(x: Any) -> Any:
        return x * factor

    return times


def context_of(compiled: Any) -> Any:
    """Return the arguments of `torch.compile` that a compiled function or module has."""
    if isinstance(compiled, torch.nn.Module):
        return compiled.dynamo_ctx
    return next(each.cell_contents for each in compiled.__closure__ if hasattr(each.cell_contents, "callback"))


def facts(compiled: Any) -> tuple[Any, ...]:
    """All that `torch.compile` was told."""
    context = context_of(compiled)
    backend = torch._dynamo.eval_frame.innermost_backend(context.callback)
    options = getattr(backend, "config", None), getattr(backend, "compiler_name", None)
    return type(context), context.fullgraph, context._dynamic, type(backend), options


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_a_function_arrives_with_its_arguments(arguments: dict[str, Any]) -> None:
    compiled = torch.compile(made(3), **arguments)
    arrived = carried(compiled)
    assert facts(arrived) == facts(compiled)
    assert is_compiled(arrived)
    assert arrived.__wrapped__(2) == 6
    assert fingerprint(arrived, {}) == fingerprint(compiled, {})


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_a_module_arrives_with_its_arguments(arguments: dict[str, Any]) -> None:
    model = torch.nn.Linear(2, 2)
    compiled, inner = carried((torch.compile(model, **arguments), model))
    assert facts(compiled) == facts(torch.compile(model, **arguments))
    assert compiled._orig_mod is inner


def test_a_compiled_function_runs_and_arrives_after_its_call() -> None:
    compiled = torch.compile(made(3), backend="eager")
    assert compiled(torch.ones(1)).item() == 3
    arrived = carried(compiled)
    assert arrived(torch.ones(1)).item() == 3
    assert carried(arrived)(torch.ones(1)).item() == 3


@pytest.mark.parametrize("disable", [torch.compiler.disable, torch.compiler.disable(recursive=False)])
def test_a_function_that_is_not_compiled_arrives(disable: Any) -> None:
    assert carried(disable(made(2)))(3) == 6


def test_attributes_of_the_users_arrive() -> None:
    compiled: Any = torch.compile(made(3), backend="eager")
    compiled.calls = [1]
    assert carried(compiled).calls == [1]
    assert carried((compiled, compiled.calls))[0].calls == [1]


def test_a_compiled_function_is_written_into_if_it_compiles_the_same() -> None:
    function = made(3)
    old, same, other = (torch.compile(each, backend="eager") for each in (function, function, made(3)))
    strict = torch.compile(function, backend="eager", fullgraph=True)
    old.former, same.calls = 1, [2]
    assert absorb(old, same)
    assert (old.calls, hasattr(old, "former")) == ([2], False)
    assert not absorb(old, other)
    assert not absorb(old, strict)
    assert old.calls == [2]


def test_settings_of_the_compiler_arrive_as_the_module() -> None:
    assert carried([torch._dynamo.config])[0] is torch._dynamo.config
