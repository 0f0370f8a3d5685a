// Writes published iopub messages into a cell's outputs. Pure: the outputs are any object with these four members.

/** A publication: kind and content of an iopub message, or `done` at the end of the run. */
export interface Act {
  kind: string;
  content: Record<string, unknown>;
}

/** The part of JupyterLab's model of a cell's outputs that is used. */
export interface Outputs {
  readonly length: number;
  /** The output of an index: another object once the output was set. */
  get(index: number): { readonly metadata?: Record<string, unknown> } | undefined;
  add(output: Record<string, unknown>): unknown;
  set(index: number, output: Record<string, unknown>): void;
  clear(wait?: boolean): void;
}

export class Writer {
  /** The outputs of each display. Others may clear or run the cell meanwhile: an output is found as this very object. */
  private readonly displays = new Map<string, Set<unknown>>();

  constructor(private readonly outputs: Outputs) {}

  /** Write one publication; return whether its kind changes the outputs. */
  write({ kind, content }: Act): boolean {
    if (kind === "clear_output") {
      this.displays.clear();
      this.outputs.clear(Boolean(content["wait"]));
    } else if (kind === "update_display_data") {
      this.update(this.displays.get(displayId(content)), output("display_data", content));
    } else if (kind in FIELDS) {
      this.outputs.add(output(kind, content));
      const id = displayId(content);
      if (id) this.displays.set(id, (this.displays.get(id) ?? new Set()).add(this.outputs.get(this.outputs.length - 1)));
    } else {
      return false;
    }
    return true;
  }

  private update(shown: Set<unknown> | undefined, changed: Record<string, unknown>): void {
    for (let index = 0; shown?.size && index < this.outputs.length; index += 1) {
      if (!shown.delete(this.outputs.get(index))) continue;
      this.outputs.set(index, changed);
      shown.add(this.outputs.get(index));
    }
  }
}

/** The fields of each kind of output in a notebook's file (nbformat 4). */
const FIELDS: Record<string, readonly string[]> = {
  stream: ["name", "text"],
  display_data: ["data", "metadata"],
  execute_result: ["data", "metadata", "execution_count"],
  error: ["ename", "evalue", "traceback"],
};

function output(kind: string, content: Record<string, unknown>): Record<string, unknown> {
  return { output_type: kind, ...Object.fromEntries(FIELDS[kind]!.map((field) => [field, content[field]])) };
}

function displayId(content: Record<string, unknown>): string {
  const transient = content["transient"] as { display_id?: string } | undefined;
  return transient?.display_id ?? "";
}
