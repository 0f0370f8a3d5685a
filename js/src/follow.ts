// A page that is loaded anew while a cell runs: it asks for what the cell puts out and writes it into the notebook.
//
// JupyterLab and Notebook 7 give a cell's output to the page that ran it, and to no other. Their widget manager knows
// the notebook it belongs to; where a front end's does not, a page shows the dashboard alone.

import type { AnyModel } from "@anywidget/types";
import { Writer, type Act, type Outputs } from "./acts";

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

/** What is used of JupyterLab's widget manager. */
interface Host {
  kernel?: { clientId?: string } | null;
  context?: { model?: { cells?: Iterable<Cell> } };
}

/** Follow the run if this page did not begin it; returns what ends that. */
export function follow(model: AnyModel<Traits>): () => void {
  const host = model.widget_manager as unknown as Host | undefined;
  const cell = [...(host?.context?.model?.cells ?? [])].find((one) => one.id === model.get("cell"));
  const client = host?.kernel?.clientId;
  if (!cell?.outputs || !client || !model.get("client") || client === model.get("client")) return () => {};
  const writer = new Writer(cell.outputs);
  if ("executionState" in cell) cell.executionState = "running";
  const hear = (content: { type: string; acts?: Act[] }): void => {
    for (const act of (content.type === "acts" && content.acts) || []) {
      if (writer.write(act) || act.kind !== "done") continue;
      cell.executionCount = act.content["execution_count"] as number;
      if ("executionState" in cell) cell.executionState = "idle";
    }
  };
  model.on("msg:custom", hear);
  model.send({ type: "follow" });
  return () => model.off("msg:custom", hear);
}
