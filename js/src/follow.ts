// A page loaded while a cell runs: requests the cell's output and writes the output into the notebook.
//
// JupyterLab and Notebook 7 send a cell's output only to the page that ran the cell. Their widget manager has the
// notebook's model; in front ends without access to the model, such a page shows only the dashboard.

import type { AnyModel } from "@anywidget/types";
import { Writer, type Act, type Outputs } from "./outputs";

interface Traits {
  client: string;
  cell: string;
  code: string;
}

export interface Cell {
  id: string;
  outputs?: Outputs;
  executionCount?: number | null;
  executionState?: string;
  /** Whether JupyterLab shows widgets and scripts in the outputs: it trusts a cell that was run in this page. */
  trusted?: boolean;
  sharedModel?: { getSource?: () => string };
}

/** The part of JupyterLab's widget manager that is used. */
interface Host {
  kernel?: { clientId?: string } | null;
  context?: { model?: { cells?: Iterable<Cell> } };
}

/** Follow the run if another page started it; return a function that stops following. */
export function follow(model: AnyModel<Traits>): () => void {
  const host = model.widget_manager as unknown as Host | undefined;
  const cell = cellOf([...(host?.context?.model?.cells ?? [])], model.get("cell"), model.get("code"));
  const client = host?.kernel?.clientId;
  if (!cell?.outputs || !client || !model.get("client") || client === model.get("client")) return () => {};
  const writer = new Writer(cell.outputs);
  if ("executionState" in cell) cell.executionState = "running";
  const receive = (content: { type: string; acts?: Act[] }): void => {
    for (const act of (content.type === "acts" && content.acts) || []) {
      // All output comes anew from the kernel, as if the cell had been run in this page.
      if (act.kind === "clear_output" && "trusted" in cell) cell.trusted = true;
      if (writer.write(act) || act.kind !== "done") continue;
      cell.executionCount = act.content["execution_count"] as number;
      if ("executionState" in cell) cell.executionState = "idle";
    }
  };
  model.on("msg:custom", receive);
  model.send({ type: "follow" });
  return () => model.off("msg:custom", receive);
}

/**
 * The cell of a run: by its id, else the only one with the run's code. A notebook whose file has no ids (nbformat 4.4)
 * gets new ones each time it is opened, until it is saved.
 */
export function cellOf(cells: readonly Cell[], id: string, code: string): Cell | undefined {
  const found = cells.find((cell) => cell.id === id);
  if (found || !code) return found;
  const same = cells.filter((cell) => cell.outputs && cell.sharedModel?.getSource?.() === code);
  return same.length === 1 ? same[0] : undefined;
}
