// The dashboard of a run: where it stands, what it got and costs, its GPUs now and over time, Stop.

import type { AnyModel } from "@anywidget/types";
import { Chart, type Measure } from "./chart";
import { dollars, h, uniqueId } from "./dom";
import { follow } from "./follow";
import { clock, decode, mean, shown } from "./frame";
import { History } from "./history";
import { NodeRows } from "./nodes";
import { Tiles } from "./tiles";

/** What Python says of the run; times in seconds since the epoch, on the kernel's clock. */
interface State {
  phase: string;
  text: string;
  since: number;
  now: number;
  asked: string;
  got: string;
  backend: string;
  simulated: boolean;
  hourly: number | null;
  cost: number | null;
  notices: string[];
  over: boolean;
}

interface Traits {
  state: State;
  nodes: number;
  client: string;
  cell: string;
}

type Model = AnyModel<Traits>;

interface Kpi extends Measure {
  label: string;
  words: (history: History) => [string, string];
}

const GB = 1 / 1024;
const STOP_PATIENCE = 600;

const sum = (values: number[]): number => {
  const known = values.filter((value) => !Number.isNaN(value));
  return known.length ? known.reduce((total, value) => total + value, 0) : NaN;
};
const most = (values: number[]): number => values.reduce((a, b) => (Number.isNaN(a) || b > a ? b : a), NaN);

const KPIS: readonly Kpi[] = [
  {
    label: "Utilisation",
    field: "utilisation",
    unit: "%",
    scale: 1,
    top: 100,
    words: (history) => [`${shown(mean(history.latest("utilisation")))} %`, "mean"],
  },
  {
    label: "Memory",
    field: "used",
    unit: "GiB",
    scale: GB,
    top: null,
    words: (history) => {
      const used = sum(history.latest("used")) * GB;
      return [`${shown(used, used < 100 ? 1 : 0)} GiB`, `of ${shown(sum(history.latest("total")) * GB)}`];
    },
  },
  {
    label: "Power",
    field: "power",
    unit: "W",
    scale: 1,
    top: null,
    words: (history) => [`${shown(sum(history.latest("power")))} W`, "in all"],
  },
  {
    label: "Temperature",
    field: "temperature",
    unit: "°C",
    scale: 1,
    top: 100,
    words: (history) => [`${shown(most(history.latest("temperature")))} °C`, "hottest"],
  },
];

class Dashboard {
  private readonly history = new History();
  private readonly tiles: Tiles | NodeRows;
  private readonly chart: Chart;
  private readonly head = {
    dot: h("span", { class: "mgs-dot", "aria-hidden": "true" }),
    title: h("span", { class: "mgs-title" }),
    simulated: h("span", { class: "mgs-simulated" }, "simulated"),
    state: h("span", { class: "mgs-state", role: "status" }),
    money: h("span", { class: "mgs-money" }),
    stop: h("button", { type: "button", class: "mgs-stop" }, "Stop"),
  };
  private readonly notices = h("ul", { class: "mgd-notices", "aria-label": "Notices" });
  private readonly body: HTMLElement;
  private readonly numbers: (() => void)[] = [];
  private ahead = 0;
  private dirty = false;

  constructor(
    private readonly model: Model,
    root: HTMLElement,
  ) {
    this.tiles = model.get("nodes") > 1 ? new NodeRows() : new Tiles();
    const plot = h("div", { class: "mgd-plot", role: "img", "aria-label": "History of the chosen measure" });
    this.chart = new Chart(plot, this.history, KPIS[0]!);
    this.body = h("div", { hidden: true }, this.kpis(), h("div", { class: "mgd-body" }, this.tiles.element, plot));
    root.append(h("div", { class: "mgs-head" }, ...Object.values(this.head)), this.notices, this.body);
    this.head.stop.addEventListener("click", () => this.stop());
    root.addEventListener("keydown", (event) => event.stopPropagation());
    this.tiles.element.addEventListener("mouseover", (event) => this.chart.highlight(this.tiles.place(event.target as Node)));
    this.tiles.element.addEventListener("mouseleave", () => this.chart.highlight(-1));
    this.heard();
  }

  /** New state from Python: its clock may differ from ours. */
  heard = (): void => {
    this.ahead = this.model.get("state").now - Date.now() / 1000;
    this.tick();
  };

  /** What moves by itself: the clock and the cost. */
  tick = (): void => {
    const state = this.model.get("state");
    const now = state.over ? state.now : Date.now() / 1000 + this.ahead;
    const { dot, title, simulated, state: words, money, stop } = this.head;
    dot.dataset["state"] = state.phase;
    title.textContent = state.got && state.got !== state.asked ? `${state.got} (asked ${state.asked})` : state.asked;
    simulated.hidden = !state.simulated;
    setText(words, `${state.text} ${clock(now - state.since)}`);
    const cost = state.cost === null ? null : state.cost + ((state.hourly ?? 0) * Math.max(0, now - state.now)) / 3600;
    setText(money, `${state.backend === "local" ? "free here; at Modal " : ""}${dollars(cost)}`);
    stop.hidden = state.over;
    const said = [...this.notices.children].map((item) => item.textContent);
    if (said.join("\n") !== state.notices.join("\n")) {
      this.notices.replaceChildren(...state.notices.map((notice) => h("li", {}, notice)));
    }
  };

  message = (content: { type: string }, buffers: DataView[]): void => {
    if (content.type === "stopping") this.head.stop.textContent = "Stopping…";
    if (content.type === "history") this.history.clear();
    else if (content.type !== "frame") return;
    for (const buffer of buffers) {
      for (const frame of decode(buffer)) {
        this.history.add(frame);
        this.tiles.show(frame.node, frame.gpus);
      }
    }
    if (this.history.times.length) this.draw();
  };

  end(): void {
    this.chart.end();
  }

  /** Once a frame of the page, however many readings came. */
  private draw(): void {
    if (this.dirty) return;
    this.dirty = true;
    requestAnimationFrame(() => {
      this.dirty = false;
      this.body.hidden = false;
      for (const number of this.numbers) number();
      this.chart.update();
    });
  }

  private kpis(): HTMLElement {
    const name = uniqueId();
    const cards = KPIS.map((kpi, place) => {
      const radio = h("input", { type: "radio", name, id: uniqueId(), checked: place === 0 });
      const [value, note] = [h("b", {}, "–"), h("small")];
      radio.addEventListener("change", () => this.chart.show(kpi));
      this.numbers.push(() => {
        const [number, words] = kpi.words(this.history);
        setText(value, number);
        setText(note, words);
      });
      return h("span", { class: "mgd-kpi" }, radio, h("label", { for: radio.id }, h("span", {}, kpi.label), h("span", {}, value, " ", note)));
    });
    return h("div", { class: "mgd-kpis", role: "radiogroup", "aria-label": "Charted" }, ...cards);
  }

  /** By message, where the kernel hears one while the cell blocks it; by an interrupt else. */
  private stop(): void {
    let heard = false;
    const listen = (content: { type: string }): void => {
      heard ||= content.type === "stopping";
    };
    this.model.on("msg:custom", listen);
    this.model.send({ type: "stop" });
    setTimeout(() => {
      this.model.off("msg:custom", listen);
      if (!heard) interrupt(this.model);
    }, STOP_PATIENCE);
  }
}

/** The front ends differ in how a widget reaches its kernel; where none is known, their own ■ is there. */
function interrupt(model: Model): void {
  type Kernel = { interrupt?: () => unknown };
  const host = model.widget_manager as unknown as { kernel?: Kernel } | undefined;
  const classic = (globalThis as { Jupyter?: { notebook?: { kernel?: Kernel } } }).Jupyter?.notebook?.kernel;
  (host?.kernel ?? classic)?.interrupt?.();
}

function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export default {
  initialize: ({ model }: { model: Model }): (() => void) => follow(model as unknown as Parameters<typeof follow>[0]),
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
