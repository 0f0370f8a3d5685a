// The dashboard of a run: phase, GPUs provided, cost, GPUs now and over time, Stop.

import type { AnyModel } from "@anywidget/types";
import { Chart, type Measure } from "./chart";
import { h, marked, setText, uniqueId } from "./dom";
import { follow } from "./follow";
import { clock, decode, mean, shown } from "./frame";
import { History } from "./history";
import { costText } from "./money";
import { NodeRows } from "./nodes";
import { stop } from "./stop";
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
  private readonly history: History;
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
  private readonly detail = h("p", { class: "mgd-detail" });
  private readonly notices = h("ul", { class: "mgd-notices", "aria-label": "Notices" });
  private readonly body: HTMLElement;
  private readonly numbers: (() => void)[] = [];
  private ahead = 0;
  private dirty = false;

  constructor(
    private readonly model: Model,
    root: HTMLElement,
  ) {
    const isCluster = model.get("nodes") > 1;
    this.history = new History(isCluster);
    this.tiles = isCluster ? new NodeRows() : new Tiles();
    const plot = h("div", { class: "mgd-plot", role: "img", "aria-label": "History of the chosen measure" });
    this.chart = new Chart(plot, this.history, KPIS[0]!);
    this.body = h("div", { hidden: true }, this.kpis(), h("div", { class: "mgd-body" }, this.tiles.element, plot));
    const { dot, title, simulated, state, money, stop: button } = this.head;
    const head = h("div", { class: "mgs-head" }, dot, title, simulated, state, h("span", { class: "mgs-end" }, money, button));
    root.append(head, this.detail, this.notices, this.body);
    button.addEventListener("click", () => stop(model, true, (text) => setText(button, text)));
    root.addEventListener("keydown", (event) => event.stopPropagation());
    this.tiles.element.addEventListener("mouseover", (event) => this.chart.highlight(this.tiles.place(event.target as Node)));
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

  message = (content: { type: string }, buffers: DataView[]): void => {
    if (content.type === "history") this.history.clear();
    else if (content.type !== "frame") return;
    const frames = buffers.flatMap(decode);
    for (const frame of frames) this.history.add(frame);
    const newest = new Map(frames.map((frame) => [frame.node, frame.gpus]));
    for (const [node, gpus] of newest) this.tiles.show(node, gpus);
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
