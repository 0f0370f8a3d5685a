// The table of the processes that use the GPUs, where nvidia-smi lists any.

import { h } from "./dom";
import { memory as memoryText } from "./frame";

/** A process: GPU, process id, GPU memory in MiB, name; null: unknown. */
export type Process = [gpu: string, pid: number, memory: number | null, name: string | null];

const COLUMNS = ["GPU", "PID", "Process", "GPU memory"];

export class Processes {
  readonly element = h("div", { class: "mgd-processes", role: "group", "aria-label": "GPU processes", tabindex: "0", hidden: true });

  /** Show the table; no processes, no table. */
  show(processes: readonly Process[]): void {
    this.element.hidden = processes.length === 0;
    this.element.replaceChildren(...(processes.length ? [table(processes)] : []));
  }
}

function table(processes: readonly Process[]): HTMLElement {
  const head = h("tr", {}, ...COLUMNS.map((name) => h("th", { scope: "col" }, name)));
  const rows = processes.map(([gpu, pid, memory, name]) => {
    const program = h("span", { title: name ?? "" }, name === null ? "–" : programOf(name));
    const cells = [gpu, String(pid), program, memory === null ? "–" : memoryText(memory)];
    return h("tr", {}, ...cells.map((cell) => h("td", {}, cell)));
  });
  return h("table", {}, h("caption", {}, "Processes on the GPUs"), h("thead", {}, head), h("tbody", {}, ...rows));
}

/** The program of a path; a name that is no path stays as it is. */
function programOf(name: string): string {
  return name.startsWith("/") ? name.split("/").at(-1) || name : name;
}
