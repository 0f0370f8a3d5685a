// The picker: filters, one card per GPU, options, the line. An anywidget; logic in `choice.ts`, facts from Python.

import type { AnyModel } from "@anywidget/types";
import {
  addFallback,
  chooseCount,
  chooseGpu,
  chooseNodes,
  chooseStrict,
  fit,
  lineText,
  moveFallback,
  parseSpecs,
  price,
  removeFallback,
  specText,
  specsText,
  type Choice,
  type Need,
  type Row,
} from "./choice";
import { dollars, h, uniqueId } from "./dom";
import { renderStrip } from "./strip";

interface Traits {
  spec: string;
  nodes: number;
  image: string;
  rows: Row[];
  images: string[];
  tasks: [string, string][];
  needs: Record<string, Record<string, number>>;
  most_nodes: number;
  price_date: string;
  strip: unknown;
  said: string;
}

type Model = AnyModel<Traits>;

const ANY = "";

/** State of this view only: the filters. */
interface Filter {
  model: string;
  task: string;
  each: number;
}

class Picker {
  private readonly filter: Filter = { model: ANY, task: "inference", each: 0 };
  private readonly rows: Row[];
  private readonly repaints: (() => void)[] = [];

  constructor(
    private readonly model: Model,
    root: HTMLElement,
  ) {
    this.rows = model.get("rows");
    root.append(this.filters(), this.cards(), this.options(), this.footer());
    // JupyterLab's command mode would handle the keys: `dd` in a select deletes the cell.
    root.addEventListener("keydown", (event) => event.stopPropagation());
  }

  /** Update all elements from the model and the filters. */
  repaint = (): void => {
    for (const repaint of this.repaints) repaint();
  };

  private get choice(): Choice {
    return { specs: parseSpecs(this.model.get("spec")), nodes: this.model.get("nodes"), image: this.model.get("image") };
  }

  private get need(): Need {
    const gb = this.model.get("needs")[this.filter.model]?.[this.filter.task] ?? 0;
    return { gb, each: this.filter.each };
  }

  private get row(): Row | undefined {
    const name = this.choice.specs[0]?.name;
    return this.rows.find((row) => row.name === name);
  }

  private set(choice: Choice): void {
    this.model.set("spec", specsText(choice.specs));
    this.model.set("nodes", choice.nodes);
    this.model.set("image", choice.image);
    this.model.save_changes();
    this.repaint();
  }

  /** Change the choice if a GPU is chosen; `change` receives that GPU's row. */
  private change(change: (choice: Choice, row: Row) => Choice): void {
    const row = this.row;
    if (row) this.set(change(this.choice, row));
  }

  private filters(): HTMLElement {
    const models = [ANY, ...Object.keys(this.model.get("needs"))];
    const size = select("Model", models, (name) => name || "any size", (name) => {
      this.filter.model = name;
      this.repaint();
    });
    const tasks = segments("Task", this.model.get("tasks"), this.filter.task, (task) => {
      this.filter.task = task;
      this.repaint();
    });
    const most = Math.max(...this.rows.map((row) => row.vram));
    const said = h("output", { class: "mgp-said" }, "any");
    const range = h("input", { type: "range", min: 0, max: most, step: 8, value: 0, id: uniqueId() });
    range.addEventListener("input", () => {
      this.filter.each = Number(range.value);
      const text = this.filter.each ? `${this.filter.each} GB or more` : "any";
      said.textContent = text;
      range.setAttribute("aria-valuetext", text);
      this.repaint();
    });
    const memory = h("span", { class: "mgp-pair" }, h("label", { for: range.id }, "VRAM a GPU"), range, said);
    return h("div", { class: "mgp-filters" }, size.element, tasks, memory);
  }

  private cards(): HTMLElement {
    const group = h("div", { class: "mgp-cards", role: "radiogroup", "aria-label": "GPU" });
    const name = uniqueId();
    const most = Math.max(...this.rows.map((row) => row.vram));
    for (const row of this.rows) {
      const radio = h("input", { type: "radio", name, id: uniqueId(), value: row.name });
      const count = h("span", { class: "mgp-count" });
      const why = h("span", { class: "mgp-best", id: uniqueId() });
      const card = h(
        "label",
        { class: "mgp-card", for: radio.id, title: row.notes || null },
        h("span", { class: "mgp-name" }, row.name),
        h("span", { class: "mgp-price" }, dollars(row.price), h("small", {}, "/h")),
        h("span", { class: "mgp-vram" }, `${row.vram} GB`),
        count,
        h("span", { class: "mgp-bar", "aria-hidden": "true" }, h("i", { style: `width:${(row.vram / most) * 100}%` })),
        why,
      );
      radio.addEventListener("change", () => this.set(chooseGpu(this.choice, row, this.need)));
      group.append(h("div", { class: "mgp-place" }, radio, card));
      this.repaints.push(() => {
        const found = fit(row, this.need);
        radio.checked = this.choice.specs[0]?.name === row.name;
        radio.disabled = !found.ok && !radio.checked;
        card.classList.toggle("mgp-unfit", !found.ok);
        count.textContent = found.ok && found.count > 1 ? `needs ${found.count}` : `up to ${row.max}`;
        why.textContent = found.ok ? row.best : `too small: ${found.why}`;
      });
    }
    return group;
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
    const strict = h("input", { type: "checkbox", role: "switch", id: uniqueId() });
    strict.addEventListener("change", () => this.change((c, row) => chooseStrict(c, row, strict.checked)));
    const strictField = h(
      "span",
      { class: "mgp-field" },
      h("label", { for: strict.id, title: "No upgrade to another GPU" }, "Strict"),
      h("span", { class: "mgp-switch" }, strict, h("span", { "aria-hidden": "true" })),
    );
    this.repaints.push(() => {
      const { specs, nodes: many, image: chosen } = this.choice;
      count.show(specs[0]?.count ?? 1, !specs.length || many > 1);
      nodes.show(many, !this.row?.cluster);
      image.show(chosen);
      strict.checked = specs[0]?.strict ?? false;
      strict.disabled = !this.row?.strict;
    });
    return h("div", { class: "mgp-options" }, count.element, nodes.element, image.element, strictField, this.fallbacks());
  }

  private fallbacks(): HTMLElement {
    const list = h("ol", { class: "mgp-tags", "aria-label": "Fallbacks, in order" });
    const add = h("select", { "aria-label": "Add a fallback" });
    add.addEventListener("change", () => {
      const row = this.rows.find((one) => one.name === add.value);
      if (row) this.set(addFallback(this.choice, row, this.need));
    });
    this.repaints.push(() => {
      const { specs, nodes } = this.choice;
      const tags = specs.slice(1).map((spec, index) => {
        const row = this.rows.find((one) => one.name === spec.name);
        const rate = row ? dollars(price(row, spec.count, nodes)) : "–";
        return this.tag(specText(spec), `${rate}/h`, index + 1, specs.length - 1);
      });
      replaceKeepingFocus(list, tags);
      const left = this.rows.filter(
        (row) => fit(row, this.need).ok && !specs.some((spec) => spec.name === row.name) && (nodes === 1 || row.cluster),
      );
      add.replaceChildren(h("option", { value: "" }, "add…"), ...left.map((row) => h("option", {}, row.name)));
      add.disabled = !specs.length || !left.length;
    });
    return h("span", { class: "mgp-field mgp-wide" }, h("span", {}, "If none is free"), h("span", { class: "mgp-row" }, list, add));
  }

  private tag(text: string, rate: string, place: number, last: number): HTMLElement {
    const act = (what: string, sign: string, off: boolean, change: (choice: Choice) => Choice): HTMLElement =>
      h(
        "button",
        { type: "button", "aria-label": `${what} ${text}`, disabled: off, onclick: () => this.set(change(this.choice)) },
        sign,
      );
    return h(
      "li",
      { class: "mgp-tag" },
      h("span", {}, text, h("small", {}, ` ${rate}`)),
      act("Earlier:", "‹", place === 1, (choice) => moveFallback(choice, place, -1)),
      act("Later:", "›", place === last, (choice) => moveFallback(choice, place, 1)),
      act("Remove", "×", false, (choice) => removeFallback(choice, place)),
    );
  }

  private footer(): HTMLElement {
    const line = h("code", { class: "mgp-line", "aria-label": "The line" });
    const total = h("span", { class: "mgp-total", role: "status" });
    const copy = h("button", { type: "button" }, "Copy");
    copy.addEventListener("click", () => void copied(copy, `%%modal_gpu ${lineText(this.choice)}`));
    const use = h("button", { type: "button", class: "mgp-main" }, "Use");
    use.addEventListener("click", () => this.model.send({ type: "use", line: lineText(this.choice) }));
    const said = h("span", { class: "mgp-said", role: "status" });
    this.repaints.push(() => {
      const { specs, nodes } = this.choice;
      const [spec, row] = [specs[0], this.row];
      line.textContent = `%%modal_gpu ${lineText(this.choice)}`.trimEnd();
      const gpus = (spec?.count ?? 0) * nodes;
      const words = row && spec ? ` ${row.vram * gpus} GB · ${gpus} GPU${gpus > 1 ? "s" : ""}` : "CPU only";
      const short = row && spec && row.vram * spec.count < this.need.gb;
      total.replaceChildren(
        h("b", {}, row && spec ? `${dollars(price(row, spec.count, nodes))}/h` : ""),
        words,
        ...(short ? [h("span", { class: "mgp-short" }, ` · ${this.filter.model} needs ${Math.ceil(this.need.gb)} GB`)] : []),
      );
      total.title = `Modal's list prices of ${this.model.get("price_date")}: an estimate`;
      use.disabled = nodes > 1;
      use.title = nodes > 1 ? "A cluster belongs to one cell: copy the line" : "Cells with %%modal_gpu alone use this machine";
      said.textContent = this.model.get("said");
    });
    return h("div", { class: "mgp-foot" }, line, copy, use, said, total);
  }
}

/** A labelled select; `show` sets its value. */
function select(
  label: string,
  values: readonly string[],
  word: (value: string) => string,
  chosen: (value: string) => void,
): { element: HTMLElement; show: (value: string) => void } {
  const box = h("select", { id: uniqueId() }, ...values.map((value) => h("option", { value }, word(value))));
  box.addEventListener("change", () => chosen(box.value));
  const element = h("span", { class: "mgp-field" }, h("label", { for: box.id }, label), box);
  const show = (value: string): void => {
    if (![...box.options].some((option) => option.value === value)) box.append(h("option", { value }, word(value)));
    box.value = value;
  };
  return { element, show };
}

/** A radio group styled as one control. */
function segments(
  label: string,
  values: readonly [string, string][],
  first: string,
  chosen: (value: string) => void,
): HTMLElement {
  const name = uniqueId();
  const parts = values.map(([value, word]) => {
    const radio = h("input", { type: "radio", name, id: uniqueId(), value, checked: value === first });
    radio.addEventListener("change", () => chosen(value));
    return h("span", {}, radio, h("label", { for: radio.id }, word));
  });
  return h(
    "span",
    { class: "mgp-field" },
    h("span", { "aria-hidden": "true" }, label),
    h("span", { class: "mgp-segments", role: "radiogroup", "aria-label": label }, ...parts),
  );
}

/** A number with two buttons. */
function stepper(
  label: string,
  most: () => number,
  chosen: (value: number) => void,
): { element: HTMLElement; show: (value: number, fixed: boolean) => void } {
  const number = h("input", { type: "number", min: 1, value: 1, id: uniqueId() });
  number.addEventListener("change", () => chosen(Number(number.value)));
  const step = (by: number, sign: string): HTMLButtonElement =>
    h(
      "button",
      { type: "button", "aria-label": `${by > 0 ? "More" : "Fewer"} ${label}`, onclick: () => chosen(Number(number.value) + by) },
      sign,
    );
  const [less, more] = [step(-1, "−"), step(1, "+")];
  const element = h(
    "span",
    { class: "mgp-field" },
    h("label", { for: number.id }, label),
    h("span", { class: "mgp-stepper" }, less, number, more),
  );
  const show = (value: number, fixed: boolean): void => {
    number.value = String(value);
    number.max = String(most());
    number.disabled = fixed;
    less.disabled = fixed || value <= 1;
    more.disabled = fixed || value >= most();
  };
  return { element, show };
}

/** Replace children; restore the focus by label, or by index. */
function replaceKeepingFocus(parent: HTMLElement, children: HTMLElement[]): void {
  const active = parent.ownerDocument.activeElement;
  const label = active && parent.contains(active) ? active.getAttribute("aria-label") : null;
  parent.replaceChildren(...children);
  if (label === null) return;
  const buttons = [...parent.querySelectorAll("button")];
  (buttons.find((button) => button.getAttribute("aria-label") === label && !button.disabled) ?? buttons.find((button) => !button.disabled))?.focus();
}

async function copied(button: HTMLButtonElement, text: string): Promise<void> {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    done = false; // no permission to write to the clipboard; users can select the line
  }
  button.textContent = done ? "Copied" : "Select and copy";
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

export default {
  render({ model, el }: { model: Model; el: HTMLElement }): () => void {
    const root = h("div", { class: "mgp", role: "group", "aria-label": "GPU picker" });
    el.append(root);
    const picker = new Picker(model, root);
    const traits = ["spec", "nodes", "image", "said"] as const;
    for (const trait of traits) model.on(`change:${trait}`, picker.repaint);
    picker.repaint();
    const endStrip = renderStrip(model as unknown as Parameters<typeof renderStrip>[0], root);
    return () => {
      for (const trait of traits) model.off(`change:${trait}`, picker.repaint);
      endStrip();
    };
  },
};
