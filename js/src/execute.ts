// Runs a line in the kernel with its output below a cell, whose own source stays: what JupyterLab does for a cell.

import type { CellModel } from "./bars";
import { h } from "./dom";
import { Writer } from "./outputs";

interface Message {
  header: { msg_type: string };
  content: Record<string, unknown>;
}

interface Future {
  onIOPub: (message: Message) => void;
  onStdin: (message: Message) => void;
  done: Promise<Message>;
  sendInputReply(content: { value: string; status: "ok" }, parent?: unknown): void;
}

/** A kernel of JupyterLab (`Kernel.IKernelConnection`), as far as it is used. */
export interface KernelConnection {
  requestExecute(
    content: { code: string; stop_on_error: boolean; allow_stdin: boolean; store_history: boolean },
    disposeOnDone: boolean,
    metadata: { cellId: string },
  ): Future;
}

/** Show a question's field; null: the question is answered. */
type Ask = (question: HTMLElement | null) => void;

/** Run `line` and write its output instead of the cell's. Returns when the line has run, or the kernel has ended. */
export async function execute(kernel: KernelConnection, cell: CellModel, line: string, ask: Ask): Promise<void> {
  const outputs = cell.outputs!;
  outputs.clear();
  const writer = new Writer(outputs);
  if ("trusted" in cell) cell.trusted = true; // as JupyterLab does for a cell that is run; the former outputs are gone
  if ("executionCount" in cell) cell.executionCount = null;
  if ("executionState" in cell) cell.executionState = "running";
  const request = { code: line, stop_on_error: true, allow_stdin: true, store_history: true };
  const future = kernel.requestExecute(request, false, { cellId: cell.id }); // kept: the receipt is updated later
  let isOver = false;
  future.onIOPub = ({ header, content }) => {
    if (!isOver || header.msg_type === "update_display_data") writer.write({ kind: header.msg_type, content });
  };
  future.onStdin = (message) => {
    if (message.header.msg_type === "input_request") ask(question(message.content, (value) => {
      ask(null);
      writer.write({ kind: "stream", content: { name: "stdout", text: `${message.content["prompt"]}${message.content["password"] ? "········" : value}\n` } });
      future.sendInputReply({ value, status: "ok" }, message.header);
    }));
  };
  const reply = await future.done.catch(() => null); // the kernel has ended
  isOver = true;
  ask(null);
  if ("executionState" in cell) cell.executionState = "idle";
  if (reply && "executionCount" in cell) cell.executionCount = reply.content["execution_count"] as number;
}

/** A field for the answer to `input()` or `getpass()`. */
function question(content: Record<string, unknown>, answer: (value: string) => void): HTMLElement {
  const field = h("input", { type: content["password"] ? "password" : "text", autocomplete: "off" });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") answer(field.value);
  });
  requestAnimationFrame(() => field.focus());
  return h("label", { class: "mga" }, String(content["prompt"] ?? ""), field);
}
