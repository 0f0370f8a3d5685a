// The picker: filters, one card per GPU, options, the line with its buttons. An anywidget; facts and texts from Python.

import type { AnyModel } from "@anywidget/types";
import { Cards } from "./cards";
import { cellsAround } from "./cells";
import {
  addFallback,
  chooseCount,
  chooseGpu,
  chooseNodes,
  chooseStrict,
  countFallback,
  hold,
  moveFallback,
  removeFallback,
} from "./choice";
import { h, setText, uniqueId } from "./dom";
import { replaceKeepingFocus, segments, select, stepper, toggle } from "./fields";
import { copyText, insertHeader } from "./insert";
import { watchKernel } from "./kernel";
import { price, priceText, ranked, rowOf, shortfall, totalText, type Entry, type Need, type Row } from "./offers";
import { lineText, parseSpecs, specText, specsText, type Choice } from "./spec";
import { renderStrip } from "./strip";

/** Facts of the catalog from Python, as JSON in the trait `offers`. */
interface Offers {
  rows: Row[];
  /** Memory that a model needs and the formula, by model and task. */
  needs: Record<string, Record<string, [string, string]>>;
  /** Orders of the GPUs: without a model at the empty key, else by model and task. */
  rankings: { "": Entry[] } & Record<string, Entry[] | Record<string, Entry[]>>;
}

interface Traits {
  spec: string;
  nodes: number;
  hears: boolean;
  image: string;
  /** The image of the session, which a line without `--image` inherits. */
  inherited_image: string;
  inherited_region: string;
  region: string;
  offers: string;
  images: string[];
  regions: string[];
  tasks: [string, string][];
  most_nodes: number;
  prices_text: string;
  region_text: string;
  cell: string;
  strip: unknown;
  said: string;
}

type Model = AnyModel<Traits>;

const ANY = "";
const MEMORY_STEP_GB = 8;
/** Milliseconds after which a kernel that has not answered Use is busy. */
const BUSY_MS = 1000;

const BUSY = "The kernel is busy: Use is applied when its cell has ended.";
const CLUSTER = "A cluster belongs to one cell: Insert or Copy its line.";
const NO_CELLS = "This front end gives widgets no access to cells.";
const COPIED = "The line is copied: paste it as the first line of a cell.";
const NOT_COPIED = "Select the line, and copy it into the first line of a cell.";

/** State of this view only: the filters, and what the buttons last said. */
interface View {
  model: string;
  task: string;
  each: number;
  /** What a button of this page said; empty: `said` of Python, if the line is still the one it is about. */
  note: string;
  stale: boolean;
  /** Why the kernel does not answer; empty: it does. */
  ended: string;
}

class Picker {
  private readonly view: View = { model: ANY, task: "inference", each: 0, note: "", stale: false, ended: "" };
  private readonly offers: Offers;
  private readonly rows: readonly Row[];
  private readonly repaints: (() => void)[] = [];
  private busy: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly model: Model,
    private readonly root: HTMLElement,
  ) {
    this.offers = JSON.parse(model.get("offers")) as Offers;
    this.rows = this.offers.rows;
    root.append(this.filters(), ...this.cards(), this.options(), this.footer());
    // JupyterLab's command mode would handle the keys: `dd` in a select deletes the cell.
    root.addEventListener("keydown", (event) => event.stopPropagation());
  }

  /** Update all elements from the model and the filters. */
  repaint = (): void => {
    for (const repaint of this.repaints) repaint();
  };

  /** Python has answered Use. */
  answered = (content: { type: string }): void => {
    if (content.type !== "used") return;
    clearTimeout(this.busy);
    Object.assign(this.view, { note: "", stale: false });
    this.repaint();
  };

  /** Say that the kernel does not answer; empty: it does. */
  inert = (why: string): void => {
    this.view.ended = why;
    this.repaint();
  };

  private get choice(): Choice {
    const { model } = this;
    return { specs: parseSpecs(model.get("spec")), nodes: model.get("nodes"), image: model.get("image"), region: model.get("region") };
  }

  private get need(): Need {
    const { model, task, each } = this.view;
    const { rankings, needs } = this.offers;
    const found = rankings[model];
    const entries = (Array.isArray(found) ? found : found?.[task]) ?? rankings[""];
    return { model, gb: needs[model]?.[task]?.[0] ?? "", each, entries };
  }

  private get row(): Row | undefined {
    return rowOf(this.choice.specs[0]?.name, this.rows);
  }

  private get line(): string {
    return lineText(this.choice, this.model.get("inherited_image"), this.model.get("inherited_region"));
  }

  private get header(): string {
    return `%%modal_gpu ${this.line}`.trimEnd();
  }

  private set(choice: Choice): void {
    this.model.set("spec", specsText(choice.specs));
    this.model.set("nodes", choice.nodes);
    this.model.set("image", choice.image);
    this.model.set("region", choice.region);
    this.model.save_changes();
    Object.assign(this.view, { note: "", stale: true });
    this.repaint();
  }

  /** Change the choice if a GPU is chosen; `change` receives that GPU's row. */
  private change(change: (choice: Choice, row: Row) => Choice): void {
    const row = this.row;
    if (row) this.set(change(this.choice, row));
  }

  private say(note: string): void {
    this.view.note = note;
    this.repaint();
  }

  private filters(): HTMLElement {
    const models = [ANY, ...Object.keys(this.offers.needs)];
    const filter = (change: Partial<View>): void => {
      Object.assign(this.view, change);
      const before = this.choice;
      const held = hold(before, this.rows, this.need);
      if (held === before) this.repaint();
      else this.set(held);
    };
    const size = select("Model", models, (name) => name || "any size", (model) => filter({ model }));
    const tasks = segments("Task", this.model.get("tasks"), this.view.task, (task) => filter({ task }));
    const most = Math.max(...this.rows.map((row) => row.vram));
    const said = h("output", { class: "mgp-amount" }, "any");
    const range = h("input", { type: "range", min: 0, max: most, step: MEMORY_STEP_GB, value: 0, id: uniqueId() });
    range.addEventListener("input", () => {
      this.view.each = Number(range.value);
      const text = this.view.each ? `${this.view.each} GB or more` : "any";
      said.textContent = text;
      range.setAttribute("aria-valuetext", text);
      this.repaint();
    });
    const memory = h("span", { class: "mgp-pair" }, h("label", { for: range.id }, "Min. VRAM per GPU"), range, said);
    const need = h("p", { class: "mgp-need" });
    this.repaints.push(() => {
      const { model, task } = this.view;
      const [gb, formula] = this.offers.needs[model]?.[task] ?? ["", ""];
      setText(need, gb ? `${model} needs ${gb}: ${formula}` : "");
      need.hidden = !gb;
    });
    return h("div", { class: "mgp-filters" }, size.element, tasks, memory, need);
  }

  private cards(): HTMLElement[] {
    const cards = new Cards(this.rows, (row) => this.set(chooseGpu(this.choice, this.rows, row, this.need)));
    this.repaints.push(() => cards.show(this.choice, this.need));
    return [cards.element, cards.facts.element];
  }

  private options(): HTMLElement {
    const count = stepper("GPUs", () => this.row?.max ?? 1, (n) => this.change((c, row) => chooseCount(c, row, n)));
    const most = this.model.get("most_nodes");
    const nodes = stepper("Nodes", () => (this.row?.cluster ? most : 1), (n) =>
      this.set(chooseNodes(this.choice, this.rows, n, most)),
    );
    const image = select("Image", this.model.get("images"), (name) => name, (name) =>
      this.set({ ...this.choice, image: name }),
    );
    const region = select("Region", [ANY, ...this.model.get("regions")], (name) => name || "anywhere", (name) =>
      this.set({ ...this.choice, region: name }),
    );
    const strict = toggle("No upgrade", "Never another GPU than the one chosen (H100!)", (on) =>
      this.change((c, row) => chooseStrict(c, row, on)),
    );
    this.repaints.push(() => {
      const { specs, nodes: many, image: chosen, region: pinned } = this.choice;
      count.show(specs[0]?.count ?? 1, !specs.length || many > 1);
      nodes.show(many, !this.row?.cluster);
      image.show(chosen);
      region.show(pinned);
      strict.show(specs[0]?.strict ?? false, !this.row?.strict);
    });
    const fields = [count, nodes, image, region, strict].map((field) => field.element);
    return h("div", { class: "mgp-options" }, ...fields, this.fallbacks());
  }

  private fallbacks(): HTMLElement {
    const list = h("ol", { class: "mgp-tags", "aria-label": "Fallbacks, in order" });
    const add = h("select", { "aria-label": "Add a fallback" });
    add.addEventListener("change", () => {
      const row = rowOf(add.value, this.rows);
      if (row) this.set(addFallback(this.choice, row, this.need));
    });
    this.repaints.push(() => {
      const { specs, nodes } = this.choice;
      replaceKeepingFocus(list, specs.slice(1).map((_, index) => this.tag(index + 1)));
      const left = ranked(this.rows, this.need).flatMap(({ row, found }) =>
        found.ok && !specs.some((spec) => spec.name === row.name) && (nodes === 1 || row.cluster) ? [row.name] : [],
      );
      add.replaceChildren(h("option", { value: "" }, "add…"), ...left.map((name) => h("option", {}, name)));
      add.disabled = !specs.length || !left.length;
    });
    return h("span", { class: "mgp-field mgp-wide" }, h("span", {}, "Fallbacks"), h("span", { class: "mgp-row" }, list, add));
  }

  /** A fallback with its price, and buttons to change its count and its place. */
  private tag(place: number): HTMLElement {
    const { specs, nodes, region } = this.choice;
    const spec = specs[place]!;
    const row = rowOf(spec.name, this.rows);
    const act = (label: string, sign: string, off: boolean, change: (choice: Choice) => Choice): HTMLElement =>
      h("button", { type: "button", "aria-label": label, disabled: off, onclick: () => this.set(change(this.choice)) }, sign);
    const count = (by: number) => (choice: Choice) => (row ? countFallback(choice, row, place, spec.count + by) : choice);
    const whole = !row || nodes > 1; // a cluster consists of whole nodes
    const rate = row ? priceText(price(row, spec.count, nodes), region) : "–";
    return h(
      "li",
      { class: "mgp-tag" },
      h("span", {}, specText(spec), h("small", {}, ` ${rate}`)),
      act(`Fewer ${spec.name}`, "−", whole || spec.count <= 1, count(-1)),
      act(`More ${spec.name}`, "+", whole || spec.count >= row.max, count(1)),
      act(`Earlier: ${specText(spec)}`, "‹", place === 1, (choice) => moveFallback(choice, place, -1)),
      act(`Later: ${specText(spec)}`, "›", place === specs.length - 1, (choice) => moveFallback(choice, place, 1)),
      act(`Remove ${specText(spec)}`, "×", false, (choice) => removeFallback(choice, place)),
    );
  }

  private footer(): HTMLElement {
    const line = h("code", { class: "mgp-line", "aria-label": "The line" });
    const total = h("span", { class: "mgp-total", role: "status" });
    const why = h("span", { class: "mgp-why", role: "status", id: uniqueId() });
    const insert = h("button", { type: "button", title: "Put the line into the cell below" }, "Insert");
    insert.addEventListener("click", () => void this.insert());
    const copy = h("button", { type: "button", title: "Copy the line" }, "Copy");
    copy.addEventListener("click", () => void copied(copy, this.header));
    const use = h("button", { type: "button", title: "Run cells with %%modal_gpu alone on this machine", "aria-describedby": why.id }, "Use");
    use.addEventListener("click", () => this.use());
    const said = h("span", { class: "mgp-said", role: "status" });
    this.repaints.push(() => {
      const { choice, row, need } = this;
      const [spec] = choice.specs;
      const short = shortfall(choice, this.rows, need);
      setText(line, this.header);
      const gpus = (spec?.count ?? 0) * choice.nodes;
      const words = row && spec ? ` ${(row.vram * gpus).toLocaleString("en")} GB · ${gpus} GPU${gpus > 1 ? "s" : ""}` : "CPU only";
      total.replaceChildren(h("b", {}, totalText(choice, this.rows)), words);
      setText(why, this.view.ended || [short && `Does not fit: ${short}`, choice.nodes > 1 ? CLUSTER : ""].filter((text) => text).join(" "));
      why.classList.toggle("mgp-warn", Boolean(this.view.ended || short));
      use.disabled = choice.nodes > 1 || this.view.ended !== "";
      use.classList.toggle("mgp-main", !use.disabled && !short);
      insert.classList.toggle("mgp-main", choice.nodes > 1 && !short);
      setText(said, this.view.note || (this.view.stale || this.view.ended ? "" : this.model.get("said")));
    });
    const date = h("span", { class: "mgp-date" }, `${this.model.get("prices_text")}.`);
    const acts = h("span", { class: "mgp-acts" }, insert, copy, use, said);
    return h("div", { class: "mgp-foot" }, line, total, acts, why, h("p", { class: "mgp-note" }, `${this.model.get("region_text")} `, date));
  }

  private use(): void {
    this.model.send({ type: "use", line: this.line });
    clearTimeout(this.busy);
    this.busy = setTimeout(() => this.say(BUSY), BUSY_MS);
  }

  private async insert(): Promise<void> {
    const cells = cellsAround(this.model, this.root);
    this.say(cells ? insertHeader(cells, this.header) : `${NO_CELLS} ${(await copyText(this.header)) ? COPIED : NOT_COPIED}`);
  }
}

async function copied(button: HTMLButtonElement, text: string): Promise<void> {
  button.textContent = (await copyText(text)) ? "Copied" : "Select and copy";
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

export default {
  render({ model, el }: { model: Model; el: HTMLElement }): () => void {
    const root = h("div", { class: "mgp", role: "group", "aria-label": "GPU picker" });
    el.append(root);
    const picker = new Picker(model, root);
    const traits = ["spec", "nodes", "image", "inherited_image", "region", "inherited_region", "said"] as const;
    for (const trait of traits) model.on(`change:${trait}`, picker.repaint);
    model.on("msg:custom", picker.answered);
    picker.repaint();
    const strip = renderStrip(model as unknown as Parameters<typeof renderStrip>[0], root);
    const endWatch = watchKernel(model, (why) => {
      picker.inert(why);
      strip.inert(why);
    });
    return () => {
      for (const trait of traits) model.off(`change:${trait}`, picker.repaint);
      model.off("msg:custom", picker.answered);
      endWatch();
      strip.end();
    };
  },
};
