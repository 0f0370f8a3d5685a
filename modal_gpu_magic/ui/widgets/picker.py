"""The picker: an anywidget made from the catalog. Python holds and validates its state; `js/` draws it.

The page receives all facts (GPUs, prices, rankings by model) with the widget, from `offers`. It computes only the line,
which must be correct while the kernel is busy.
"""

from __future__ import annotations

import contextvars
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget  # noqa: TID253 - this module is imported when a picker opens
from traitlets import Bool, Dict, Instance, Int, List, TraitError, Unicode, validate

from modal_gpu_magic.catalog import rates
from modal_gpu_magic.catalog.images import PRESETS
from modal_gpu_magic.catalog.limits import CLUSTER_NODES
from modal_gpu_magic.catalog.prices import BROAD_REGIONS, REGION_NOTE, REGION_SOURCE
from modal_gpu_magic.errors import LineError, ModalGpuError
from modal_gpu_magic.line.kinds import REGION
from modal_gpu_magic.line.parse import parse
from modal_gpu_magic.line.readers import ANY_REGION
from modal_gpu_magic.metrics.sample import Reading
from modal_gpu_magic.plan.machine.advice import arrived
from modal_gpu_magic.plan.machine.clusters import refusal
from modal_gpu_magic.ui.widgets import offers
from modal_gpu_magic.ui.widgets.frames import frame, with_text
from modal_gpu_magic.ui.widgets.origin import Origin
from modal_gpu_magic.ui.widgets.shell_channel import WIDGET_COMM_IDS, hears

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modal_gpu_magic.line.spec import GpuSpec
    from modal_gpu_magic.session.facade import Session

STATIC = Path(__file__).parents[1] / "static"
DEFAULT_IMAGE = "torch"
"""Image of a line without `--image`, and without a session that has another."""
METRIC_FIELDS = ("utilization", "memory_used_mib", "power_w", "temperature_c")
"""Fields of a sample in the trait `metrics`."""

REGION_TEXT = f"{REGION_NOTE[0].upper()}{REGION_NOTE[1:]} ({REGION_SOURCE})."

FALLBACK_TEXT = """%%modal_gpu {line}
This front end does not show the picker, which needs Jupyter widgets. Write a line like the one above instead.
%modal_gpu gpus lists the GPUs, %modal_gpu help the options."""


class GpuPicker(anywidget.AnyWidget):
    """Choose GPUs, fallbacks, nodes and an image in the page or by setting traits. Page and traits stay in sync.

    Below the choice, the widget shows a session: GPUs provided, readings, cost, and a Stop button.

    Args:
        spec: initial choice, such as `H100:2,A100-80GB`.
        use: called with the line when Use is pressed; None: `%modal_gpu use` in this kernel.
        session: session to show, whose image and region are chosen first; None: none until `follow` is called.

    Attributes:
        spec: the GPU and its fallbacks, as in `%%modal_gpu`; empty: no GPU. A spec that Modal does not offer raises
            `TraitError` and changes nothing.
        nodes: containers of a cluster; 1: no cluster. A number that Modal does not offer raises `TraitError`.
        image: a preset or a registry reference.
        region: a region to pin, which costs more; empty: anywhere. What is no region's name raises `TraitError`.
        line: arguments for `%%modal_gpu`; read-only, observable.
        metrics: the latest reading of the session's first GPU and the number of GPUs: `gpus`, `utilization` (%),
            `memory_used_mib`, `power_w`, `temperature_c`; None for unknown values. Read-only, observable.
    """

    _esm = STATIC / "picker.js"
    _css = STATIC / "picker.css"

    spec = Unicode("H100").tag(sync=True)
    nodes = Int(1, min=1, max=CLUSTER_NODES).tag(sync=True)
    image = Unicode(DEFAULT_IMAGE).tag(sync=True)
    inherited_image = Unicode(DEFAULT_IMAGE, read_only=True).tag(sync=True)
    region = Unicode("").tag(sync=True)
    inherited_region = Unicode("", read_only=True).tag(sync=True)
    line = Unicode("H100", read_only=True)
    metrics = Dict(read_only=True)
    said = Unicode("").tag(sync=True)
    hears = Bool(True).tag(sync=True)
    strip: Any = Instance(dict, allow_none=True).tag(sync=True)
    offers = Unicode("").tag(sync=True)
    images = List(Unicode()).tag(sync=True)
    regions = List(Unicode()).tag(sync=True)
    tasks: Any = List().tag(sync=True)
    most_nodes = Int(CLUSTER_NODES).tag(sync=True)
    prices_text = Unicode("").tag(sync=True)
    region_text = Unicode(REGION_TEXT).tag(sync=True)
    cell = Unicode("").tag(sync=True)

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
        self._unsubscribe: Callable[[], None] = lambda: None
        self._creation_context = contextvars.copy_context()
        if session is not None:
            traits = {"image": _image(session), "region": session.machine.region or "", **traits}
        super().__init__(
            spec=spec,
            offers=offers.offers_json(),
            images=list(PRESETS),
            regions=list(BROAD_REGIONS),
            tasks=[list(task) for task in offers.TASKS],
            cell=_running_cell(),
            prices_text=prices_text(),
            hears=hears(),
            **traits,
        )
        self.on_msg(self._on_message)
        self.observe(self._write_line, ["spec", "nodes", "image", "inherited_image", "region", "inherited_region"])
        self._write_line()
        WIDGET_COMM_IDS.add(self.model_id)
        if session is not None:
            self.follow(session)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The GPUs with their facts and prices, as the page shows them."""
        return offers.rows()

    def follow(self, session: Session) -> None:
        """Show `session` from now on."""
        self._unsubscribe()
        self._session = session
        self._unsubscribe = session.metrics.watch(self._update_from_thread)
        self._update(None)

    def close(self) -> None:
        """Close the widget."""
        self._unsubscribe()
        self._unsubscribe = lambda: None
        WIDGET_COMM_IDS.discard(self.model_id)
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return with_text(super()._repr_mimebundle_(**kwargs), FALLBACK_TEXT.format(line=self.line))

    @validate("spec")
    def _validate_spec(self, proposal: Any) -> str:
        """Return the spec in the catalog's spelling.

        Raises:
            TraitError: Modal does not offer the spec; the message suggests the nearest one.
        """
        try:
            specs = parse(str(proposal["value"])).specs
        except ModalGpuError as error:
            raise TraitError(str(error)) from None
        _check_cluster(specs, self.nodes)
        return ",".join(map(str, specs))

    @validate("nodes")
    def _validate_nodes(self, proposal: Any) -> int:
        """Return the number of nodes.

        Raises:
            TraitError: Modal does not offer such a cluster.
        """
        nodes = int(proposal["value"])
        _check_cluster(parse(self.spec).specs, nodes)
        return nodes

    @validate("region")
    def _validate_region(self, proposal: Any) -> str:
        """Return the region in Modal's spelling.

        Raises:
            TraitError: not the name of a region.
        """
        text = str(proposal["value"])
        try:
            return str(REGION.read(text)).replace(ANY_REGION, "") if text else ""
        except LineError as error:
            raise TraitError(str(error)) from None

    def _write_line(self, _change: object = None) -> None:
        words = self.spec.split(",") if self.spec else []
        words += ["--nodes", str(self.nodes), "--torchrun"] if self.nodes > 1 else []
        words += ["--image", self.image] if {self.image, self.inherited_image} != {DEFAULT_IMAGE} else []
        region = self.region or (ANY_REGION if self.inherited_region else "")
        words += ["--region", region] if region else []
        self.set_trait("line", " ".join(words))

    def _on_message(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        """Handle a message of the page, on the main thread or, while a cell runs, on the shell channel's thread."""
        kind, session = content.get("type"), self._session
        if kind == "use":
            self.said = self._apply_line(str(content["line"]))
            self.send({"type": "used"})
        elif kind == "stop" and session is not None:
            self._stop(session, running=bool(content.get("running")))
        elif kind == "hello" and session is not None:
            self._update(None)
            for reading in self._latest():
                self._update(reading)

    def _apply_line(self, line: str) -> str:
        """Set the session's machine to the line's; return a message for the user."""
        if self._session is not None and self._session.status.press is not None:
            return "A cell is running on the session's machine. Press Use when the cell has ended."
        try:
            self._use(line)
        except ModalGpuError as error:
            return str(error)
        return "Cells with %%modal_gpu now run on this machine."

    def _stop(self, session: Session, *, running: bool) -> None:
        """Handle Stop. `running`: the page showed a running cell; if that cell has ended, nothing is left to do."""
        self.send({"type": "stopping"})
        if session.status.press is not None:
            session.status.press()
        elif not running:
            session.stop()

    def _update_from_thread(self, reading: Reading | None) -> None:
        """Call `_update` from any thread. In ipykernel 7.0 only the creating context has the parent message."""
        self._creation_context.copy().run(self._update, reading)

    def _update(self, reading: Reading | None) -> None:
        """Show a reading; None: show the session's state."""
        if reading is None:
            self.strip = _strip(self._session) if self._session else None
            self.set_trait("inherited_image", _image(self._session) if self._session else DEFAULT_IMAGE)
            self.set_trait("inherited_region", (self._session.machine.region or "") if self._session else "")
            return
        if self.strip and not self.strip["got"]:
            self.strip = _strip(self._session) if self._session else None
        self.send({"type": "frame"}, [frame(reading, reading.time)])
        first = reading.samples[0]
        shown = {field: getattr(first, field) for field in METRIC_FIELDS}
        self.set_trait("metrics", {"gpus": len(reading.samples), **shown})

    def _latest(self) -> tuple[Reading, ...]:
        latest = self._session.metrics.latest if self._session else ()
        nodes = sorted({sample.node for sample in latest})
        return tuple(Reading(tuple(sample for sample in latest if sample.node == node)) for node in nodes)


def prices_text() -> str:
    """Return whose prices the page shows, and their date."""
    now = rates.current()
    return (
        f"Modal's list prices of {now.date}, an estimate" if now.source == rates.LIST else f"{now.words.capitalize()}"
    )


def _check_cluster(specs: Sequence[GpuSpec], nodes: int) -> None:
    why = refusal(specs, nodes)
    if why:
        raise TraitError(why)


def _image(session: Session) -> str:
    """Return the image of a session's machine as the line writes it."""
    return session.machine.image.removeprefix("variable:")


def _strip(session: Session) -> dict[str, Any]:
    """Return a session's state in the format of `js/src/strip.ts`."""
    standing, about = session.status.standing, session.about
    own = [sample for sample in session.metrics.latest if sample.node == 0]
    got = arrived(own[0].name, own[0].memory_total_mib, len(own)) if own and not about.simulated else None
    return {
        "session": session.name,
        "title": session.machine.title,
        "got": str(got) if got else "",
        "backend": session.backend,
        "simulated": about.simulated,
        "price": session.price_text,
        "rate": standing.hourly,
        "spent": standing.spent,
        "state": "new" if standing.doing == "ended" and not standing.outcome else standing.doing,
        "since": standing.since,
        "idle_until": standing.idle_until,
        "outcome": standing.outcome,
        "now": time.time(),
        "background": bool(session.backlog.runs),
    }


def _running_cell() -> str:
    """Return the id of the notebook cell that runs now; empty: unknown."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return Origin.of(shell).cell if shell is not None else ""


def _use(line: str) -> None:
    """Run `%modal_gpu use LINE` in this kernel.

    Raises:
        ModalGpuError: the extension is not loaded in this kernel, or the line is wrong.
    """
    from IPython.core.getipython import get_ipython

    shell: Any = get_ipython()
    if shell is None or "modal_gpu" not in shell.magics_manager.magics["line"]:
        raise ModalGpuError("the extension is not loaded; run %load_ext modal_gpu_magic.")
    shell.run_line_magic("modal_gpu", f"use {line}")
