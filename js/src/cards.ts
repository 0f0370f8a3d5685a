// One card per GPU, in Python's order, and the facts of the GPU that is pointed at, has the focus, or is chosen.

import { chooseGpu } from "./choice";
import { h, setText, uniqueId } from "./dom";
import { price, priceText, ranked, rowOf, type Badge, type Fit, type Need, type Row } from "./offers";
import type { Choice } from "./spec";

/** The cards. `chosen` receives the row of the GPU that the user chooses. */
export class Cards {
  readonly element = h("div", { class: "mgp-cards", role: "radiogroup", "aria-label": "GPU" });
  readonly facts: Facts;
  private readonly cards: Map<string, Card>;
  private pointed: Row | undefined;
  private focused: Row | undefined;
  private chosen: Row | undefined;
  private need: Need | undefined;

  constructor(
    private readonly rows: readonly Row[],
    chosen: (row: Row) => void,
  ) {
    this.facts = new Facts();
    const group = uniqueId();
    const most = Math.max(...rows.map((row) => row.vram));
    this.cards = new Map(rows.map((row) => [row.name, new Card(row, group, most, this.facts.element.id, () => chosen(row))]));
    for (const [name, card] of this.cards) {
      const row = rowOf(name, rows);
      // Not `pointerenter`: the browser also sends that to a pointer at rest, under which the page scrolls.
      card.element.addEventListener("pointermove", (event) => {
        if ((event.movementX || event.movementY) && this.pointed !== row) this.point({ pointed: row });
      });
      card.element.addEventListener("pointerleave", () => this.point({ pointed: undefined }));
      card.radio.addEventListener("focus", () => this.point({ focused: row, pointed: undefined }));
      card.radio.addEventListener("blur", () => this.point({ focused: undefined }));
    }
  }

  show(choice: Choice, need: Need): void {
    const shown = ranked(this.rows, need);
    const elements = shown.map(({ row }) => this.cards.get(row.name)!.element);
    if (elements.some((element, place) => this.element.children[place] !== element)) this.element.replaceChildren(...elements);
    for (const { row, found, badges } of shown) this.cards.get(row.name)!.show(found, badges, choice, this.rows, need);
    this.chosen = rowOf(choice.specs[0]?.name, this.rows);
    this.need = need;
    this.point({});
  }

  private point(change: { pointed?: Row | undefined; focused?: Row | undefined }): void {
    if ("pointed" in change) this.pointed = change.pointed;
    if ("focused" in change) this.focused = change.focused;
    this.facts.show(this.pointed ?? this.focused ?? this.chosen, this.need);
  }
}

class Card {
  readonly element: HTMLElement;
  readonly radio: HTMLInputElement;
  private readonly card: HTMLElement;
  private readonly price = h("span", { class: "mgp-price" });
  private readonly memory = h("span", { class: "mgp-vram" });
  private readonly most = h("span", { class: "mgp-count" });
  private readonly badges = h("span", { class: "mgp-badges" });
  private readonly why = h("span", { class: "mgp-best" });

  constructor(
    private readonly row: Row,
    group: string,
    most: number,
    factsId: string,
    chosen: () => void,
  ) {
    this.radio = h("input", { type: "radio", name: group, id: uniqueId(), value: row.name, "aria-describedby": factsId });
    this.radio.addEventListener("change", chosen);
    this.card = h(
      "label",
      { class: "mgp-card", for: this.radio.id },
      h("span", { class: "mgp-pairs" }, h("span", { class: "mgp-name" }, row.name), this.price),
      h("span", { class: "mgp-pairs" }, this.memory, this.most),
      h("span", { class: "mgp-bar", "aria-hidden": "true" }, h("i", { style: `width:${(row.vram / most) * 100}%` })),
      this.badges,
      this.why,
    );
    this.element = h("div", { class: "mgp-place" }, this.radio, this.card);
  }

  /** Show what choosing this GPU gives: as many as the model needs, or as many as are chosen now. */
  show(found: Fit, badges: readonly Badge[], choice: Choice, rows: readonly Row[], need: Need): void {
    const { row, radio } = this;
    const offer = chooseGpu(choice, rows, row, need);
    const count = offer.specs[0]?.count ?? 1;
    radio.checked = choice.specs[0]?.name === row.name;
    radio.disabled = !found.ok && !radio.checked;
    this.card.classList.toggle("mgp-unfit", !found.ok);
    const each = count > 1 ? `${count} × ${row.vram} GB` : `${row.vram} GB`;
    const nodes = found.ok && offer.nodes > 1;
    setText(this.memory, !found.ok ? `${row.vram} GB` : nodes ? `${offer.nodes} nodes × ${each}` : each);
    setText(this.most, nodes ? "" : `up to ${row.max}`);
    setText(this.price, found.ok ? priceText(price(row, count, offer.nodes), choice.region) : "");
    setText(this.why, found.ok ? row.best : found.why);
    if (this.badges.textContent !== badges.join("")) {
      this.badges.replaceChildren(...badges.map((badge) => h("span", { class: badge === "recommended" ? "mgp-badge mgp-best-badge" : "mgp-badge" }, badge)));
    }
  }
}

/** The facts of one GPU. Not above the cards, as a tooltip would be: a pointer passes from card to card. */
class Facts {
  readonly element = h("section", { class: "mgp-facts", id: uniqueId(), "aria-label": "Facts of the GPU" });
  private shown = "";

  show(row: Row | undefined, need: Need | undefined): void {
    this.element.hidden = !row;
    const entry = need?.model ? need.entries.find(([name]) => name === row?.name) : undefined;
    const key = `${row?.name} ${need?.model} ${entry?.[4]}`;
    if (!row || key === this.shown) return;
    this.shown = key;
    const why: [string, string][] = need && entry?.[4] ? [[`For ${need.model}`, entry[4]]] : [];
    const facts = [...why, ...row.facts].map(([label, value]) => h("li", {}, h("small", {}, `${label}: `), value));
    this.element.replaceChildren(h("b", {}, row.name), h("ul", {}, ...facts));
  }
}
