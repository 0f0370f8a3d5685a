// The table of the processes that use the GPUs, where nvidia-smi lists any.

import { h } from "./dom";
import { memory as memoryText } from "./frame";

/** A process: GPU, process id, GPU memory in MiB, name; null: unknown. */
export type Process = [gpu: string, pid: number, memory: number | null, name: string | null];

export class Processes {
  private readonly rows = h("tbody");
  readonly element = h(
    "div",
    { class: "mgd-processes", role: "group", "aria-label": "GPU processes", tabindex: "0", hidden: true },
    h(
      "table",
      {},
      h("caption", {}, "Processes on the GPUs"),
      h("thead", {}, h("tr", {}, ...["GPU", "PID", "Process", "GPU memory"].map((name) => h("th", { scope: "col" }, name)))),
      this.rows,
    ),
  );

  show(processes: readonly Process[]): void {
    this.element.hidden = processes.length === 0;
    this.rows.replaceChildren(
      ...processes.map(([gpu, pid, memory, name]) =>
        h("tr", {}, ...[gpu, String(pid), name ?? "–", memory === null ? "–" : memoryText(memory)].map((cell) => h("td", {}, cell))),
      ),
    );
  }
}
