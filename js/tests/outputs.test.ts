import { expect, test } from "vitest";
import { Writer, type Outputs } from "../src/outputs";

/** Outputs as JupyterLab keeps them: texts of one stream are one output, and a clear may wait for what comes. */
class Kept implements Outputs {
  list: Record<string, unknown>[] = [];
  private waits = false;

  get length(): number {
    return this.list.length;
  }

  get(index: number): Record<string, unknown> | undefined {
    return this.list[index];
  }

  add(output: Record<string, unknown>): void {
    if (this.waits) this.clear();
    const last = this.list.at(-1);
    if (output["output_type"] === "stream" && last?.["name"] === output["name"]) last!["text"] = `${last!["text"]}${output["text"]}`;
    else this.list.push({ ...output });
  }

  set(index: number, output: Record<string, unknown>): void {
    this.list[index] = output;
  }

  clear(wait = false): void {
    this.waits = wait;
    if (!wait) this.list = [];
  }
}

const shown = (text: string, id?: string): Record<string, unknown> => ({
  data: { "text/plain": text },
  metadata: {},
  transient: id ? { display_id: id } : {},
});
const stream = (text: string) => ({ kind: "stream", content: { name: "stdout", text } });

test("an output is what the notebook's format says, and an update finds its place", () => {
  const kept = new Kept();
  const writer = new Writer(kept);
  writer.write({ kind: "display_data", content: shown("dashboard", "d") });
  writer.write(stream("a\n"));
  writer.write(stream("b\n"));
  writer.write({ kind: "display_data", content: shown("plain") });
  writer.write({ kind: "update_display_data", content: shown("picture", "d") });
  writer.write({ kind: "update_display_data", content: shown("nobody's", "x") });
  expect(kept.list).toEqual([
    { output_type: "display_data", data: { "text/plain": "picture" }, metadata: {} },
    { output_type: "stream", name: "stdout", text: "a\nb\n" },
    { output_type: "display_data", data: { "text/plain": "plain" }, metadata: {} },
  ]);
});

test("what is cleared with a wait is replaced by what comes, in its new place", () => {
  const kept = new Kept();
  const writer = new Writer(kept);
  writer.write(stream("old"));
  writer.write({ kind: "display_data", content: shown("dashboard", "d") });
  writer.write({ kind: "clear_output", content: { wait: true } });
  expect(kept.length).toBe(2);
  writer.write({ kind: "display_data", content: shown("dashboard", "d") });
  writer.write({ kind: "update_display_data", content: shown("picture", "d") });
  expect(kept.list).toEqual([{ output_type: "display_data", data: { "text/plain": "picture" }, metadata: {} }]);
});

test("an error and a result are written, the end is not", () => {
  const kept = new Kept();
  const writer = new Writer(kept);
  expect(writer.write({ kind: "execute_result", content: { ...shown("3"), execution_count: 2 } })).toBe(true);
  expect(writer.write({ kind: "error", content: { ename: "E", evalue: "why", traceback: ["E: why"] } })).toBe(true);
  expect(writer.write({ kind: "done", content: { execution_count: 2 } })).toBe(false);
  expect(kept.list.map((output) => output["output_type"])).toEqual(["execute_result", "error"]);
});

test("an update leaves alone what others have put into the cell since", () => {
  const kept = new Kept();
  const writer = new Writer(kept);
  writer.write({ kind: "display_data", content: shown("card", "d") });
  kept.clear();
  kept.add({ output_type: "display_data", data: { "text/plain": "of another run" } });
  writer.write({ kind: "update_display_data", content: shown("card, later", "d") });
  expect(kept.list).toEqual([{ output_type: "display_data", data: { "text/plain": "of another run" } }]);
});
