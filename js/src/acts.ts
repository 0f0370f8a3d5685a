// A cell's outputs, written as Jupyter's iopub messages say. Pure: the outputs are anything with these four methods.

/** What was published: the kind and the content of an iopub message, or `done` at the very end. */
export interface Act {
  kind: string;
  content: Record<string, unknown>;
}

/** JupyterLab's model of a cell's outputs, as far as it is used. */
export interface Outputs {
  readonly length: number;
  add(output: Record<string, unknown>): unknown;
  set(index: number, output: Record<string, unknown>): void;
  clear(wait?: boolean): void;
}

export class Writer {
  private readonly places = new Map<string, number[]>();

  constructor(private readonly outputs: Outputs) {}

  /** Write one act; whether it was one that writes. */
  write({ kind, content }: Act): boolean {
    if (kind === "clear_output") {
      this.places.clear();
      this.outputs.clear(Boolean(content["wait"]));
    } else if (kind === "update_display_data") {
      for (const place of this.places.get(displayId(content)) ?? []) this.outputs.set(place, output("display_data", content));
    } else if (kind in FIELDS) {
      this.outputs.add(output(kind, content));
      const id = displayId(content);
      if (id) this.places.set(id, [...(this.places.get(id) ?? []), this.outputs.length - 1]);
    } else {
      return false;
    }
    return true;
  }
}

/** What a notebook's file keeps of each kind of output (nbformat 4). */
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
