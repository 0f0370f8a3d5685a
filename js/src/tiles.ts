// One tile per GPU: utilisation and memory as bars, power and temperature as numbers. Used by strip and dashboard.

import { h, setText } from "./dom";
import { memoryText, shown, trouble, type Gpu } from "./frame";

class Tile {
  readonly element: HTMLElement;
  private readonly load = h("b", {}, "–");
  private readonly trouble = h("span", { class: "mgt-trouble" });
  private readonly bars = [h("i"), h("i")] as const;
  private readonly words = h("span", { class: "mgt-words" }, "–");

  constructor(name: string) {
    const bar = (fill: HTMLElement, kind: string): HTMLElement => h("span", { class: `mgt-bar mgt-${kind}`, "aria-hidden": "true" }, fill);
    this.element = h(
      "div",
      { class: "mgt-tile", role: "listitem", "aria-label": name },
      h("span", { class: "mgt-head" }, h("span", {}, name), this.trouble, this.load),
      bar(this.bars[0], "load"),
      bar(this.bars[1], "memory"),
      this.words,
    );
  }

  show(gpu: Gpu): void {
    setText(this.load, `${shown(gpu.utilisation)} %`);
    fill(this.bars[0], gpu.utilisation / 100);
    fill(this.bars[1], gpu.used / gpu.total);
    setText(this.words, `${memoryText(gpu)} · ${shown(gpu.power)} W · ${shown(gpu.temperature)}°`);
    setText(this.trouble, trouble(gpu));
    this.element.classList.toggle("mgt-hot", trouble(gpu) !== "");
  }
}

/** The tiles of one node; GPUs appear with their first reading. */
export class Tiles {
  readonly element = h("div", { class: "mgt-tiles", role: "list", "aria-label": "GPUs" });
  private readonly tiles: Tile[] = [];

  show(_node: number, gpus: readonly Gpu[]): void {
    gpus.forEach((gpu, index) => this.tile(index).show(gpu));
  }

  /** Return the index, in order of appearance, of the tile that contains `target`; -1: none. */
  place(target: Node): number {
    return this.tiles.findIndex((tile) => tile.element.contains(target));
  }

  private tile(index: number): Tile {
    const found = this.tiles[index];
    if (found) return found;
    const made = new Tile(`GPU ${index}`);
    this.tiles[index] = made;
    this.element.append(made.element);
    return made;
  }
}

function fill(bar: HTMLElement, part: number): void {
  bar.style.width = Number.isNaN(part) ? "0" : `${Math.min(100, Math.max(0, part * 100))}%`;
}
