// Writes published iopub messages into a cell's outputs. Pure: the outputs are any object with these four members.

/** A publication: kind and content of an iopub message, or `done` at the end of the run. */
export interface Act {
  kind: string;
  content: Record<string, unknown>;
}

/** The part of JupyterLab's model of a cell's outputs that is used. */
export interface Outputs {
  readonly length: number;
  add(output: Record<string, unknown>): unknown;
  set(index: number, output: Record<string, unknown>): void;
  clear(wait?: boolean): void;
}

export class Writer {
  private readonly indexes = new Map<string, number[]>();

  constructor(private readonly outputs: Outputs) {}

  /** Write one publication; return whether its kind changes the outputs. */
  write({ kind, content }: Act): boolean {
    if (kind === "clear_output") {
      this.indexes.clear();
      this.outputs.clear(Boolean(content["wait"]));
    } else if (kind === "update_display_data") {
      for (const index of this.indexes.get(displayId(content)) ?? []) this.outputs.set(index, output("display_data", content));
    } else if (kind in FIELDS) {
      this.outputs.add(output(kind, content));
      const id = displayId(content);
      if (id) this.indexes.set(id, [...(this.indexes.get(id) ?? []), this.outputs.length - 1]);
    } else {
      return false;
    }
    return true;
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
