// One tile per GPU: utilisation and memory as bars, power and temperature as numbers. Used by strip and dashboard.

import { h, setText } from "./dom";
import { gpuText, trouble, valueText, type Gpu } from "./frame";

class Tile {
  readonly element: HTMLElement;
  private readonly name = h("span");
  private readonly load = h("b");
  private readonly trouble = h("span", { class: "mgt-trouble" });
  private readonly fills = [h("i"), h("i")] as const;
  private readonly bars = [bar(this.fills[0], "load"), bar(this.fills[1], "memory")] as const;
  private readonly words = h("span", { class: "mgt-words" });

  constructor() {
    const head = h("span", { class: "mgt-head" }, this.name, this.trouble, this.load);
    this.element = h("div", { class: "mgt-tile", role: "listitem" }, head, ...this.bars, this.words);
  }

  /** Show a GPU; `names`: all GPUs that the tile stands for. */
  show(gpu: Gpu, names: readonly string[]): void {
    setText(this.name, names.length > 1 ? `${names[0]} to ${names.length - 1}` : names[0]!);
    this.element.setAttribute("aria-label", names.join(", "));
    setText(this.load, valueText(gpu.utilisation, " %"));
    fill(this.bars[0], this.fills[0], gpu.utilisation / 100);
    fill(this.bars[1], this.fills[1], gpu.used / gpu.total);
    setText(this.words, gpuText(gpu));
    setText(this.trouble, trouble(gpu));
    this.element.classList.toggle("mgt-hot", trouble(gpu) !== "");
  }
}

/** The tiles of one node; GPUs appear with their first reading. */
export class Tiles {
  readonly element = h("div", { class: "mgt-tiles", role: "list", "aria-label": "GPUs" });
  private readonly tiles: Tile[] = [];

  /** Show the GPUs; simulated ones are copies of one, and have one tile together. */
  show(_node: number, gpus: readonly Gpu[], areSimulated = false): void {
    const names = gpus.map((_, index) => `GPU ${index}`);
    const [first] = gpus;
    if (areSimulated && first) this.tile(0).show(first, names);
    else gpus.forEach((gpu, index) => this.tile(index).show(gpu, [names[index]!]));
    for (const tile of this.tiles.splice(areSimulated ? 1 : gpus.length)) tile.element.remove();
    this.element.dataset["count"] = String(this.tiles.length);
    this.element.hidden = this.tiles.length === 0;
  }

  /** Return the index, in order of appearance, of the tile that contains `target`; -1: none. */
  place(target: Node): number {
    return this.tiles.findIndex((tile) => tile.element.contains(target));
  }

  private tile(index: number): Tile {
    const found = this.tiles[index];
    if (found) return found;
    const made = new Tile();
    this.tiles[index] = made;
    this.element.append(made.element);
    return made;
  }
}

function bar(fill: HTMLElement, kind: string): HTMLElement {
  return h("span", { class: `mgt-bar mgt-${kind}`, "aria-hidden": "true" }, fill);
}

/** Fill a bar; an unknown part has no bar. */
function fill(bar: HTMLElement, fill: HTMLElement, part: number): void {
  bar.hidden = Number.isNaN(part);
  fill.style.width = Number.isNaN(part) ? "0" : `${Math.min(100, Math.max(0, part * 100))}%`;
}
