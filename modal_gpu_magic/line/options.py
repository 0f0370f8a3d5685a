"""The table of all options: name, value and meaning. Parser, help, completion and documents read this table.

The metadata of a field of `Options` declares an option. None means "not given": a header contains only the differences
from its session's machine.
"""

from __future__ import annotations

import shlex
from dataclasses import Field, dataclass, field, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from modal_gpu_magic.catalog.nearest import either
from modal_gpu_magic.line import kinds, models
from modal_gpu_magic.line.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Scope = Literal["where", "how"]
"""`where`: part of the session's machine, inherited by later headers. `how`: valid for one cell."""


@dataclass(frozen=True, slots=True)
class Option:
    """The declaration of one option.

    Attributes:
        flag: name on the line, such as `--keep-warm`.
        scope: `where` or `how`.
        kind: kind of its values, with their unit.
        help: one line of help, without the default.
        default: the default, in words; may be empty.
        field: name of its field in `Options`.
    """

    flag: str
    scope: Scope
    kind: Kind
    help: str
    default: str = ""
    field: str = ""

    @property
    def is_flag(self) -> bool:
        """Whether the option takes no value."""
        return not self.kind.metavar

    @property
    def usage(self) -> str:
        """The syntax of the option: `--keep-warm DURATION`."""
        return f"{self.flag} {self.kind.metavar}".rstrip()

    def text(self, value: Any) -> str:
        """Format a value as words of the line that parse to the same value."""
        if self.is_flag:
            return self.flag
        if not self.kind.many:
            written = self.kind.write(value)
            return self._words(written) if written or self.kind.alone is None else self.flag
        texts = [self.kind.write(one) for one in value]
        return " ".join(self._words(text) for text in ([",".join(texts)] if self.kind.cut else texts))

    def _words(self, text: str) -> str:
        return f"{self.flag}{'=' if text.startswith('-') else ' '}{shlex.quote(text)}"


def _option(flag: str, scope: Scope, kind: Kind, text: str, default: str = "", *, shown: bool = True) -> Any:
    """Declare the field of an option. `shown`: the repr contains the value, which is no secret."""
    return field(default=None, metadata={"option": Option(flag, scope, kind, text, default)}, repr=shown)


# fmt: off
@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a line; None: the line does not give the option. The kind of an option states its unit.

    `str(options)` parses to equal options. Values of repeatable options are tuples, sorted so that their order on the
    line does not matter; only `run` keeps its order.
    """

    image: str | None = _option("--image", "where", kinds.IMAGE,
        "the container's image: a preset, a registry reference, or a variable with a modal.Image", "torch")
    pip: tuple[str, ...] | None = _option("--pip", "where", kinds.PACKAGES,
        "Python packages to add", "what the cells import")
    apt: tuple[str, ...] | None = _option("--apt", "where", kinds.DEBIAN,
        "Debian packages to add")
    run: tuple[str, ...] | None = _option("--run", "where", kinds.COMMAND,
        "a shell command of the image's build")
    python: str | None = _option("--python", "where", kinds.PYTHON,
        "the image's Python; has the notebook's minor version, because functions are sent", "the notebook's")
    volumes: tuple[tuple[str, str], ...] | None = _option("--volume", "where", kinds.VOLUMES,
        "Volumes to mount, created if missing")
    secrets: tuple[str, ...] | None = _option("--secret", "where", kinds.OBJECTS,
        "Modal Secrets, set as environment variables in the container")
    env: tuple[tuple[str, str | None], ...] | None = _option("--env", "where", kinds.ENV,
        "an environment variable; NAME alone takes the notebook's value", shown=False)
    cpu: float | None = _option("--cpu", "where", kinds.CORES,
        "physical cores to reserve", "0.125")
    memory: int | None = _option("--memory", "where", kinds.MEMORY,
        "main memory to reserve", "128MiB")
    region: str | None = _option("--region", "where", kinds.REGION,
        "where the container runs; costs more", "anywhere")
    keep_warm: int | None = _option("--keep-warm", "where", kinds.KEEP_WARM,
        "how long an idle container stays, and is billed", "5m, or less where that would cost more than $0.25")
    save: int | None = _option("--save", "where", kinds.SIZE,
        "size limit of the variables that outlive the container; 0 saves none", "10GB")
    start_timeout: int | None = _option("--start-timeout", "where", kinds.START_TIMEOUT,
        "how long the container may take to start, and is billed", "20m")
    model: str | None = _option("--model", "where", kinds.MODEL,
        "a model's number of parameters: picks a GPU, or checks the one you chose")
    task: str | None = _option("--task", "where", kinds.TASK,
        f"what you do with the model: {either(models.TASKS)}", "inference")
    dtype: str | None = _option("--dtype", "where", kinds.DTYPE,
        f"type of the model's weights: {either(models.BYTES)}", "bf16")
    budget: float | None = _option("--budget", "where", kinds.BUDGET,
        "the most that the model's GPU may cost, in dollars an hour")
    session: str | None = _option("--session", "where", kinds.SESSION,
        "name of the session, where you use several")
    detach: bool | None = _option("--detach", "where", kinds.FLAG,
        "the session goes on without this notebook; %modal_gpu attach continues it anywhere")
    backend: str | None = _option("--backend", "where", kinds.BACKEND,
        "Modal's cloud, or a control plane on this machine", "cloud with a Modal token, else local")

    timeout: int | None = _option("--timeout", "how", kinds.TIMEOUT,
        "how long the cell may run", "1h")
    in_: tuple[str, ...] | None = _option("--in", "how", kinds.VARIABLES,
        "variables to send that the cell does not seem to read")
    no_in: tuple[str, ...] | None = _option("--no-in", "how", kinds.VARIABLES,
        "variables and modules of yours not to send")
    out: tuple[str, ...] | None = _option("--out", "how", kinds.VARIABLES,
        "variables to return, whatever their size")
    fetch: int | None = _option("--fetch", "how", kinds.SIZE,
        "size limit of the values that return; the rest stays on the GPU", "16MB from the cloud, 256MB locally")
    send: int | None = _option("--send", "how", kinds.SIZE,
        "size limit of the values sent", "2GB to the cloud, 16GB locally")
    clean: bool | None = _option("--clean", "how", kinds.FLAG,
        "start without the variables of earlier cells")
    move: bool | None = _option("--move", "how", kinds.FLAG,
        "copy the session's variables to its new machine")
    torchrun: int | None = _option("--torchrun", "how", kinds.PROCESSES,
        "run the cell with torchrun, in N processes per node", "one per GPU")
    nodes: int | None = _option("--nodes", "how", kinds.NODES,
        "run the cell on a cluster of N nodes, with all GPUs of each")
    no_rdma: bool | None = _option("--no-rdma", "how", kinds.FLAG,
        "connect the nodes without RDMA")
    ranks: tuple[str, ...] | None = _option("--ranks", "how", kinds.RANKS,
        "more ranks to show the output of", "rank 0")
    service: str | None = _option("--service", "how", kinds.SERVICE,
        "serve the cell's functions under this name; its top level runs once per container")
    batch: int | None = _option("--batch", "how", kinds.BATCH,
        "calls per batch; the service's only function takes lists", "as @batched says")
    wait_ms: int | None = _option("--wait-ms", "how", kinds.WAIT_MS,
        "how long a batch waits for calls, in milliseconds", "100")
    min_containers: int | None = _option("--min", "how", kinds.LEAST,
        "containers of the service that always run, and are billed", "0")
    max_containers: int | None = _option("--max", "how", kinds.COUNT,
        "most containers of the service", "as many as Modal starts")
    concurrent: int | None = _option("--concurrent", "how", kinds.COUNT,
        "calls that one container runs at the same time", "1")
    dry_run: bool | None = _option("--dry-run", "how", kinds.FLAG,
        "show what would be sent and run; run nothing")
    quiet: bool | None = _option("--quiet", "how", kinds.FLAG,
        "show the cell's own output only")
    allow_unknown_gpu: bool | None = _option("--allow-unknown-gpu", "how", kinds.FLAG,
        "send a GPU name that this version does not know")
# fmt: on

    def given(self, scope: Scope | None = None) -> dict[str, Any]:
        """Return the given options by field name, in the table's order; optionally those of one scope."""
        return {option.field: getattr(self, option.field) for option in _given(self) if scope in (None, option.scope)}

    def __str__(self) -> str:
        """Format the options as on a line."""
        return " ".join(option.text(getattr(self, option.field)) for option in _given(self))


def _declared(declarations: Iterable[Field[Any]]) -> Mapping[str, Option]:
    """Make the table by flag; each option gets the name of its field."""
    options = (replace(each.metadata["option"], field=each.name) for each in declarations)
    return MappingProxyType({option.flag: option for option in options})


OPTIONS: Mapping[str, Option] = _declared(fields(Options))
"""Every option by its flag, in the order of help."""


def _given(options: Options) -> list[Option]:
    return [option for option in OPTIONS.values() if getattr(options, option.field) is not None]
