// GPUs of a cluster: one row per node, one cell per GPU, the load as the depth of the colour. Tiles would be too many.

import { h, setText } from "./dom";
import { memoryText, shown, trouble, type Gpu } from "./frame";

/** The rows of a cluster's nodes. */
export class NodeRows {
  readonly element = h("div", { class: "mgn", role: "list", "aria-label": "Nodes" });
  private readonly rows = new Map<number, { element: HTMLElement; words: HTMLElement; cells: HTMLElement[] }>();

  show(node: number, gpus: readonly Gpu[]): void {
    const row = this.row(node, gpus.length);
    gpus.forEach((gpu, index) => {
      const cell = row.cells[index];
      if (!cell) return;
      const load = Number.isNaN(gpu.utilisation) ? 0 : gpu.utilisation;
      cell.style.setProperty("--load", `${load}%`);
      setText(cell, shown(gpu.utilisation));
      cell.classList.toggle("mgt-hot", trouble(gpu) !== "");
      cell.title = `node ${node} GPU ${index}: ${shown(gpu.utilisation)} % · ${memoryText(gpu)} · ${shown(gpu.power)} W · ${shown(gpu.temperature)} °C ${trouble(gpu)}`;
    });
    const total = gpus.reduce((sum, gpu) => sum + (Number.isNaN(gpu.power) ? 0 : gpu.power), 0);
    const used = gpus.reduce((sum, gpu) => sum + (Number.isNaN(gpu.used) ? 0 : gpu.used), 0);
    const known = gpus.some((gpu) => !Number.isNaN(gpu.power));
    const words = [`${Math.round(used / 1024)} GiB`, `${known ? Math.round(total) : "–"} W`];
    for (const problem of ["throttled", "hot"]) {
      const which = gpus.flatMap((gpu, index) => (trouble(gpu) === problem ? [index] : []));
      if (which.length) words.push(`GPU ${which.join(", ")} ${problem}`);
    }
    setText(row.words, words.join(" · "));
  }

  /** Return the index of the row that contains `target`; -1: none. */
  place(target: Node): number {
    return [...this.rows.values()].findIndex((row) => row.element.contains(target));
  }

  private row(node: number, count: number): { element: HTMLElement; words: HTMLElement; cells: HTMLElement[] } {
    const found = this.rows.get(node);
    if (found) return found;
    const cells = Array.from({ length: count }, () => h("span", { class: "mgn-cell" }, "–"));
    const words = h("small");
    const element = h(
      "div",
      { class: "mgn-row", role: "listitem", "aria-label": `node ${node}` },
      h("span", { class: "mgn-name" }, `node ${node}`),
      h("span", { class: "mgn-cells" }, ...cells),
      words,
    );
    const row = { element, words, cells };
    this.rows.set(node, row);
    const after = [...this.rows.keys()].filter((other) => other > node).sort((a, b) => a - b)[0];
    this.element.insertBefore(element, after === undefined ? null : this.rows.get(after)!.element);
    return row;
  }
}
