"""The picker: an anywidget built from the catalog. Its state and what is legal are here; what it looks like is js/.

Facts (GPUs, prices, what a model needs) travel to the page with the widget; the page computes nothing that it could
compute otherwise, but for the line itself, which must be right while the kernel is busy.
"""

from __future__ import annotations

import contextvars
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget  # noqa: TID253 - this module is imported when a picker is made, and not before
from traitlets import Dict, Instance, Int, List, TraitError, Unicode, validate

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.catalog.images import PRESETS
from modal_gpu_magic.catalog.limits import CLUSTER_NODES
from modal_gpu_magic.catalog.prices import PRICE_DATE
from modal_gpu_magic.errors import ModalGpuError
from modal_gpu_magic.line.models import read_model
from modal_gpu_magic.line.parse import parse
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.metrics.sample import Reading
from modal_gpu_magic.plan.machine.advice import arrived
from modal_gpu_magic.plan.machine.clusters import refusal
from modal_gpu_magic.plan.machine.recommend import memory
from modal_gpu_magic.ui.widgets.frames import frame, with_words
from modal_gpu_magic.ui.widgets.shell_channel import OURS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modal_gpu_magic.catalog.gpus import Gpu
    from modal_gpu_magic.line.models import Task
    from modal_gpu_magic.session.facade import Session

STATIC = Path(__file__).parents[1] / "static"
SIZES = ("1B", "3B", "7B", "13B", "34B", "70B", "180B", "405B")
"""Models one filters by: sizes that open models come in."""
TASKS: tuple[tuple[Task, str], ...] = (
    ("inference", "Inference"),
    ("lora", "LoRA"),
    ("full", "Full"),
    ("pretrain", "Pre-train"),
)
READ = ("utilization", "memory_used_mib", "power_w", "temperature_c")
"""Of a reading, what `metrics` has."""


WORDS = """%%modal_gpu {line}
The picker would be seen here in a front end that shows widgets.
A line like the one above, as the first of a cell, does the same:
%modal_gpu gpus lists the GPUs, %modal_gpu help the options."""


class GpuPicker(anywidget.AnyWidget):
    """Choose GPUs, fallbacks, nodes and an image, by hand or by setting traits; both move the other.

    Below the choice it shows a session live: what it got, its GPUs, what it costs, Stop.

    Args:
        spec: what is chosen at first, `H100:2,A100-80GB`.
        use: called with the words of the line when Use is pressed; None: `%modal_gpu use` of this kernel.
        session: the session that is shown; None: none, until `follow` names one.

    Attributes:
        spec: the GPU and its fallbacks, as `%%modal_gpu` takes them; empty: no GPU. Setting it to what Modal does not
            offer raises `TraitError`, and changes nothing.
        nodes: containers of a cluster; 1: no cluster. A number that Modal does not link raises, likewise.
        image: a preset or a registry reference.
        line: the words for `%%modal_gpu`; read only, and observable.
        metrics: the newest reading of the session's first GPU and how many it has: `gpus`, `utilization` (%),
            `memory_used_mib`, `power_w`, `temperature_c`; None where it is unknown. Read only, and observable.
    """

    _esm = STATIC / "picker.js"
    _css = STATIC / "picker.css"

    spec = Unicode("H100").tag(sync=True)
    nodes = Int(1, min=1, max=CLUSTER_NODES).tag(sync=True)
    image = Unicode("torch").tag(sync=True)
    line = Unicode("H100", read_only=True)
    metrics = Dict(read_only=True)
    said = Unicode("").tag(sync=True)
    strip: Any = Instance(dict, allow_none=True).tag(sync=True)
    rows = List(Dict()).tag(sync=True)
    images = List(Unicode()).tag(sync=True)
    tasks: Any = List().tag(sync=True)
    needs = Dict().tag(sync=True)
    most_nodes = Int(CLUSTER_NODES).tag(sync=True)
    price_date = Unicode(PRICE_DATE).tag(sync=True)

    def __init__(
        self,
        spec: str = "H100",
        *,
        use: Callable[[str], None] | None = None,
        session: Session | None = None,
        **traits: Any,
    ) -> None:
        self._use = use or _use
        self._session: Session | None = None
        self._leave: Callable[[], None] = lambda: None
        self._born = contextvars.copy_context()
        super().__init__(
            spec=spec,
            rows=[_row(gpu) for gpu in GPUS.values()],
            images=list(PRESETS),
            tasks=[list(task) for task in TASKS],
            needs={size: {task: memory(read_model(size), task, "bf16")[0] for task, _ in TASKS} for size in SIZES},
            **traits,
        )
        self.on_msg(self._heard)
        self.observe(self._write_line, ["spec", "nodes", "image"])
        self._write_line()
        OURS.add(self.model_id)
        if session is not None:
            self.follow(session)

    def follow(self, session: Session) -> None:
        """Show this session from now on."""
        self._leave()
        self._session = session
        self._leave = session.metrics.watch(self._told)
        self._seen(None)

    def close(self) -> None:
        """End the widget."""
        self._leave()
        self._leave = lambda: None
        OURS.discard(self.model_id)
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return with_words(super()._repr_mimebundle_(**kwargs), WORDS.format(line=self.line))

    @validate("spec")
    def _offered(self, proposal: Any) -> str:
        """The spec in the catalog's spelling.

        Raises:
            TraitError: Modal does not offer it; the message has what was probably meant.
        """
        try:
            specs = parse(str(proposal["value"])).specs
        except ModalGpuError as error:
            raise TraitError(str(error)) from None
        _check_cluster(specs, self.nodes)
        return ",".join(map(str, specs))

    @validate("nodes")
    def _linked(self, proposal: Any) -> int:
        """So many nodes of what is chosen.

        Raises:
            TraitError: Modal has no such cluster.
        """
        nodes = int(proposal["value"])
        _check_cluster(parse(self.spec).specs, nodes)
        return nodes

    def _write_line(self, _change: object = None) -> None:
        words = self.spec.split(",") if self.spec else []
        words += ["--nodes", str(self.nodes), "--torchrun"] if self.nodes > 1 else []
        words += ["--image", self.image] if self.image != "torch" else []
        self.set_trait("line", " ".join(words))

    def _heard(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        """The page said something: in the main thread, or beside a cell that runs."""
        kind, session = content.get("type"), self._session
        if kind == "use":
            self.said = self._used(str(content["line"]))
        elif kind == "stop" and session is not None:
            self._stop(session, running=bool(content.get("running")))
        elif kind == "hello" and session is not None:
            self._seen(None)
            for reading in self._latest():
                self._seen(reading)

    def _used(self, line: str) -> str:
        """Make the line's machine the session's; returns what there is to say."""
        if self._session is not None and self._session.status.press is not None:
            return "A cell runs on the session's machine: press Use when it has ended."
        try:
            self._use(line)
        except ModalGpuError as error:
            return str(error)
        return "Cells headed %%modal_gpu run on it."

    def _stop(self, session: Session, *, running: bool) -> None:
        """Stop was pressed. `running`: the page showed a cell that ran; if an interrupt has ended it, all is done."""
        self.send({"type": "stopping"})
        if session.status.press is not None:
            session.status.press()
        elif not running:
            session.stop()

    def _told(self, reading: Reading | None) -> None:
        """`_seen`, from any thread: ipykernel 7.0 has no message to answer to in one that is not its own."""
        self._born.copy().run(self._seen, reading)

    def _seen(self, reading: Reading | None) -> None:
        """The session was read, or stands differently."""
        if reading is None:
            self.strip = _strip(self._session) if self._session else None
            return
        if self.strip and not self.strip["got"]:
            self.strip = _strip(self._session) if self._session else None
        self.send({"type": "frame"}, [frame(reading, reading.time)])
        first = reading.samples[0]
        shown = {field: getattr(first, field) for field in READ}
        self.set_trait("metrics", {"gpus": len(reading.samples), **shown})

    def _latest(self) -> tuple[Reading, ...]:
        latest = self._session.metrics.latest if self._session else ()
        nodes = sorted({sample.node for sample in latest})
        return tuple(Reading(tuple(sample for sample in latest if sample.node == node)) for node in nodes)


def _check_cluster(specs: Sequence[GpuSpec], nodes: int) -> None:
    why = refusal(specs, nodes)
    if why:
        raise TraitError(why)


def _strip(session: Session) -> dict[str, Any]:
    """A session as `js/src/strip.ts` describes it."""
    standing, about = session.status.standing, session.about
    own = [sample for sample in session.metrics.latest if sample.node == 0]
    got = arrived(own[0].name, own[0].memory_total_mib, len(own)) if own and not about.simulated else None
    return {
        "session": session.name,
        "title": session.machine.title,
        "got": str(got) if got else "",
        "backend": session.backend,
        "simulated": about.simulated,
        "hourly": about.hourly,
        "rate": standing.hourly,
        "spent": standing.spent,
        "state": standing.doing,
        "since": standing.since,
        "idle_until": standing.idle_until,
        "outcome": standing.outcome,
        "now": time.time(),
    }


def _use(line: str) -> None:
    """`%modal_gpu use LINE` in this kernel.

    Raises:
        ModalGpuError: the extension is not loaded here, or the line is wrong.
    """
    from IPython.core.getipython import get_ipython

    shell: Any = get_ipython()
    if shell is None or "modal_gpu" not in shell.magics_manager.magics["line"]:
        raise ModalGpuError("the extension is not loaded: %load_ext modal_gpu_magic.")
    shell.run_line_magic("modal_gpu", f"use {line}")


def _row(gpu: Gpu) -> dict[str, Any]:
    """A row of the catalog as `js/src/choice.ts` describes it."""
    return {
        "name": gpu.name,
        "vram": gpu.vram_gb,
        "max": gpu.max_count,
        "price": round(gpu.price_per_hour, 4),
        "best": gpu.best_for,
        "architecture": gpu.architecture,
        "bandwidth": gpu.bandwidth_gbps,
        "notes": gpu.notes,
        "strict": gpu.strict,
        "cluster": refusal((GpuSpec(gpu.name, gpu.max_count),), 2) is None,
    }
