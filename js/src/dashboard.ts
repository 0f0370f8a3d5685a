// The dashboard of a run: phase, GPUs provided, cost, GPUs now and over time, Stop.

import type { AnyModel } from "@anywidget/types";
import { Chart } from "./chart";
import { h, marked, setText, uniqueId } from "./dom";
import { follow } from "./follow";
import { clock, decode } from "./frame";
import { History } from "./history";
import { KPIS, shownKpis, type Kpi } from "./kpis";
import { costText } from "./money";
import { NodeRows } from "./nodes";
import { Processes, type Process } from "./processes";
import { bellFor } from "./notify";
import { canStop, stop } from "./stop";
import { Tiles } from "./tiles";

/** A run's state from Python; times in seconds since the epoch, by the kernel's clock. */
interface State {
  phase: string;
  text: string;
  detail: string;
  since: number;
  now: number;
  asked: string;
  got: string;
  backend: string;
  simulated: boolean;
  hourly: number | null;
  cost: number | null;
  /** Dollars that the session's containers cost before this run, including idle time. */
  before: number | null;
  notices: string[];
  over: boolean;
  /** Whether the notebook runs other cells meanwhile. */
  background: boolean;
  /** Whether a notification is to tell the end of a long run. */
  notifies: boolean;
}

interface Traits {
  state: State;
  nodes: number;
  hears: boolean;
  client: string;
  cell: string;
  code: string;
}

type Model = AnyModel<Traits>;

/** A message from Python: readings, all of them or the newest, and the processes of the GPUs. */
interface Message {
  type: string;
  processes?: Process[];
}

/** A figure's card, which is a radio button that charts its measure. */
interface Card {
  kpi: Kpi;
  element: HTMLElement;
  radio: HTMLInputElement;
  update: () => void;
}

/** Fewest GPUs whose tiles stand beside the chart: fewer would leave a hole below them. */
const BESIDE = 3;

class Dashboard {
  private readonly history: History;
  private readonly tiles: Tiles | NodeRows;
  private readonly chart: Chart;
  private readonly processes = new Processes();
  private readonly cards = new Map<Kpi, Card>();
  private readonly radios = h("div", { class: "mgd-kpis", role: "radiogroup", "aria-label": "Charted" });
  private readonly panels: HTMLElement;
  private readonly group = uniqueId();
  private charted: Kpi | null = null;
  private readonly head = {
    dot: h("span", { class: "mgs-dot", "aria-hidden": "true" }),
    title: h("span", { class: "mgs-title" }),
    simulated: h("span", { class: "mgs-simulated" }, "simulated: this machine's CPU"),
    state: h("span", { class: "mgs-state", role: "status" }),
    money: h("span", { class: "mgs-money" }),
    stop: h("button", { type: "button", class: "mgs-stop" }, "Stop"),
  };
  private readonly detail = h("p", { class: "mgd-detail" });
  private readonly notices = h("ul", { class: "mgd-notices", "aria-label": "Notices" });
  private readonly body: HTMLElement;
  private ahead = 0;
  private dirty = false;

  constructor(
    private readonly model: Model,
    root: HTMLElement,
  ) {
    const isCluster = model.get("nodes") > 1;
    this.history = new History(isCluster);
    this.tiles = isCluster ? new NodeRows() : new Tiles();
    this.chart = new Chart(this.history, KPIS[0]!);
    this.panels = h("div", { class: "mgd-body" }, this.tiles.element, this.chart.element);
    this.body = h("div", { hidden: true }, this.radios, this.panels, this.processes.element);
    const { dot, title, simulated, state, money, stop: button } = this.head;
    const head = h("div", { class: "mgs-head" }, dot, title, simulated, state, h("span", { class: "mgs-end" }, money, button));
    root.append(head, this.detail, this.notices, this.body);
    const bell = bellFor(() => model.get("state").notifies);
    button.before(bell);
    button.hidden = !canStop(model) && !model.get("state").background;
    button.addEventListener("click", () => stop(model, true, (text) => setText(button, text), model.get("state").background));
    root.addEventListener("keydown", (event) => event.stopPropagation());
    this.tiles.element.addEventListener("mouseover", (event) => this.highlight(this.tiles.place(event.target as Node)));
    this.tiles.element.addEventListener("mouseleave", () => this.chart.highlight(-1));
    this.heard();
  }

  /** Handle new state from Python, whose clock may differ from the page's. */
  heard = (): void => {
    this.ahead = this.model.get("state").now - Date.now() / 1000;
    this.tick();
  };

  /** Update what changes with time: clock and cost. */
  tick = (): void => {
    const state = this.model.get("state");
    const now = state.over ? state.now : Date.now() / 1000 + this.ahead;
    const { dot, title, simulated, state: words, money, stop } = this.head;
    dot.dataset["state"] = state.phase;
    title.textContent = state.got && state.got !== state.asked ? `${state.got} (asked ${state.asked})` : state.asked;
    simulated.hidden = !state.simulated;
    setText(words, `${state.text} ${clock(now - state.since)}`);
    setText(money, costText(state, now));
    if (this.detail.textContent !== state.detail.replaceAll("`", "")) this.detail.replaceChildren(...marked(state.detail));
    this.detail.hidden = !state.detail;
    stop.hidden = state.over;
    const said = [...this.notices.children].map((item) => item.textContent);
    if (said.join("\n") !== state.notices.join("\n")) {
      this.notices.replaceChildren(...state.notices.map((notice) => h("li", {}, notice)));
    }
  };

  message = (content: Message, buffers: DataView[]): void => {
    if (content.type === "history") this.history.clear();
    else if (content.type !== "frame") return;
    if (content.processes) this.processes.show(content.processes);
    const frames = buffers.flatMap(decode);
    for (const frame of frames) this.history.add(frame);
    const newest = new Map(frames.map((frame) => [frame.node, frame.gpus]));
    const areSimulated = this.model.get("state").simulated;
    for (const [node, gpus] of newest) this.tiles.show(node, gpus, areSimulated);
    const count = areSimulated || this.model.get("nodes") > 1 ? 1 : this.history.latest("total").length;
    this.panels.classList.toggle("mgd-beside", count >= BESIDE);
    this.panels.classList.toggle("mgd-pairs", count > 4);
    if (frames.length) this.draw();
  };

  end(): void {
    this.chart.end();
  }

  /** Draw once per frame of the page, however many readings arrive. */
  private draw(): void {
    if (this.dirty) return;
    this.dirty = true;
    requestAnimationFrame(() => {
      this.dirty = false;
      this.body.hidden = false;
      this.showFigures();
      this.chart.update();
    });
  }

  /** Show the figures that are known; the first of them is charted until another one is chosen. */
  private showFigures(): void {
    const shown = shownKpis(this.history, this.model.get("state").simulated).map((kpi) => this.card(kpi));
    const elements = shown.map(({ element }) => element);
    if (elements.some((element, place) => this.radios.children[place] !== element) || elements.length !== this.radios.children.length) {
      const focused = document.activeElement;
      this.radios.replaceChildren(...elements);
      if (focused instanceof HTMLElement && this.radios.contains(focused)) focused.focus();
      this.radios.dataset["count"] = String(elements.length);
    }
    for (const { update } of shown) update();
    const first = shown[0];
    if (first && !shown.some(({ kpi }) => kpi === this.charted)) {
      first.radio.checked = true;
      this.choose(first.kpi);
    }
  }

  /** Highlight the line of a tile, if the chart has one line per tile. */
  private highlight(place: number): void {
    const isCluster = this.model.get("nodes") > 1;
    const perTile = this.charted !== null && (isCluster ? this.charted.fields.length === 1 : this.charted.ofGpu);
    if (perTile) this.chart.highlight(place);
  }

  private choose(kpi: Kpi): void {
    this.charted = kpi;
    this.chart.show(kpi);
  }

  private card(kpi: Kpi): Card {
    const found = this.cards.get(kpi);
    if (found) return found;
    const radio = h("input", { type: "radio", name: this.group, id: uniqueId() });
    const [value, note] = [h("b"), h("small")];
    radio.addEventListener("change", () => this.choose(kpi));
    const label = h("label", { for: radio.id }, h("span", {}, kpi.label), h("span", {}, value, " ", note));
    const update = (): void => {
      const [number, words] = kpi.words(this.history);
      setText(value, number);
      setText(note, words);
    };
    const card = { kpi, radio, update, element: h("span", { class: "mgd-kpi" }, radio, label) };
    this.cards.set(kpi, card);
    return card;
  }
}

export default {
  initialize({ model }: { model: Model }): () => void {
    return follow(model as unknown as Parameters<typeof follow>[0]);
  },
  render({ model, el }: { model: Model; el: HTMLElement }): () => void {
    const root = h("section", { class: "mgd", "aria-label": "GPU dashboard" });
    el.append(root);
    const dashboard = new Dashboard(model, root);
    model.on("change:state", dashboard.heard);
    model.on("msg:custom", dashboard.message);
    const timer = setInterval(dashboard.tick, 1000);
    model.send({ type: "hello" });
    return () => {
      clearInterval(timer);
      model.off("change:state", dashboard.heard);
      model.off("msg:custom", dashboard.message);
      dashboard.end();
    };
  },
};
