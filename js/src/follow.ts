// A page loaded while a cell runs: requests the cell's output and writes the output into the notebook.
//
// JupyterLab and Notebook 7 send a cell's output only to the page that ran the cell. Their widget manager has the
// notebook's model; in front ends without access to the model, such a page shows only the dashboard.

import type { AnyModel } from "@anywidget/types";
import { Writer, type Act, type Outputs } from "./outputs";

interface Traits {
  client: string;
  cell: string;
}

interface Cell {
  id: string;
  outputs?: Outputs;
  executionCount?: number | null;
  executionState?: string;
}

/** The part of JupyterLab's widget manager that is used. */
interface Host {
  kernel?: { clientId?: string } | null;
  context?: { model?: { cells?: Iterable<Cell> } };
}

/** Follow the run if another page started it; return a function that stops following. */
export function follow(model: AnyModel<Traits>): () => void {
  const host = model.widget_manager as unknown as Host | undefined;
  const cell = [...(host?.context?.model?.cells ?? [])].find((one) => one.id === model.get("cell"));
  const client = host?.kernel?.clientId;
  if (!cell?.outputs || !client || !model.get("client") || client === model.get("client")) return () => {};
  const writer = new Writer(cell.outputs);
  if ("executionState" in cell) cell.executionState = "running";
  const receive = (content: { type: string; acts?: Act[] }): void => {
    for (const act of (content.type === "acts" && content.acts) || []) {
      if (writer.write(act) || act.kind !== "done") continue;
      cell.executionCount = act.content["execution_count"] as number;
      if ("executionState" in cell) cell.executionState = "idle";
    }
  };
  model.on("msg:custom", receive);
  model.send({ type: "follow" });
  return () => model.off("msg:custom", receive);
}
