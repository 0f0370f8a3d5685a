// GPUs of a cluster: one row per node, one cell per GPU, the load as the depth of the colour. Tiles would be too many.

import { h, setText } from "./dom";
import { gpuText, memory, trouble, valueText, type Gpu } from "./frame";

interface Row {
  element: HTMLElement;
  words: HTMLElement;
  box: HTMLElement;
}

/** The rows of a cluster's nodes. */
export class NodeRows {
  readonly element = h("div", { class: "mgn", role: "list", "aria-label": "Nodes" });
  private readonly rows = new Map<number, Row>();

  /** Show a node; simulated GPUs are copies of one, and have one cell together. */
  show(node: number, gpus: readonly Gpu[], areSimulated = false): void {
    const row = this.row(node);
    const shown = areSimulated ? gpus.slice(0, 1) : gpus;
    while (row.box.children.length > shown.length) row.box.lastChild!.remove();
    while (row.box.children.length < shown.length) row.box.append(h("span", { class: "mgn-cell" }));
    row.box.dataset["count"] = String(shown.length);
    shown.forEach((gpu, index) => {
      const cell = row.box.children[index] as HTMLElement;
      const load = Number.isNaN(gpu.utilisation) ? 0 : gpu.utilisation;
      cell.style.setProperty("--load", `${load}%`);
      setText(cell, valueText(gpu.utilisation, areSimulated ? " %" : "") || "–");
      cell.classList.toggle("mgt-hot", trouble(gpu) !== "");
      const name = areSimulated ? `node ${node}` : `node ${node} GPU ${index}`;
      cell.title = [`${name}: ${valueText(gpu.utilisation, " %") || "load unknown"}`, gpuText(gpu), trouble(gpu)].filter((part) => part).join(" · ");
    });
    setText(row.words, rowText(gpus));
  }

  /** Return the index of the row that contains `target`; -1: none. */
  place(target: Node): number {
    return [...this.rows.values()].findIndex((row) => row.element.contains(target));
  }

  private row(node: number): Row {
    const found = this.rows.get(node);
    if (found) return found;
    const [box, words] = [h("span", { class: "mgn-cells" }), h("small")];
    const name = h("span", { class: "mgn-name" }, `node ${node}`);
    const element = h("div", { class: "mgn-row", role: "listitem", "aria-label": `node ${node}` }, name, box, words);
    const row = { element, words, box };
    this.rows.set(node, row);
    const after = [...this.rows.keys()].filter((other) => other > node).sort((a, b) => a - b)[0];
    this.element.insertBefore(element, after === undefined ? null : this.rows.get(after)!.element);
    return row;
  }
}

/** `320 GiB · 3200 W · GPU 2, 3 hot`, without what is unknown. */
export function rowText(gpus: readonly Gpu[]): string {
  const total = (field: "used" | "power"): number => {
    const known = gpus.map((gpu) => gpu[field]).filter((value) => !Number.isNaN(value));
    return known.length ? known.reduce((sum, value) => sum + value, 0) : NaN;
  };
  const used = total("used");
  const words = [Number.isNaN(used) ? "" : memory(used), valueText(total("power"), " W")];
  for (const problem of ["throttled", "hot"]) {
    const which = gpus.flatMap((gpu, index) => (trouble(gpu) === problem ? [index] : []));
    if (which.length) words.push(`GPU ${which.join(", ")} ${problem}`);
  }
  return words.filter((word) => word).join(" · ");
}
