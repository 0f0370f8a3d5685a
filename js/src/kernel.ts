// Whether the kernel that made a widget still answers: widgets outlive their kernel in the page.
//
// JupyterLab and Notebook 7 give a widget's manager the notebook's session (`context.sessionContext`) or a console's
// kernel; the classic notebook has events. Elsewhere only the widget's own channel (comm) says that it has closed.

import type { AnyModel } from "@anywidget/types";

export const ENDED = "The kernel has ended. Run this cell again.";
export const DISCONNECTED = "The kernel is not connected.";

const OVER = new Set(["restarting", "autorestarting", "terminating", "dead"]);
const CLASSIC_EVENTS = ["dead", "killed", "restarting", "autorestarting"].map((name) => `kernel_${name}.Kernel`).join(" ");

interface Signal {
  connect(slot: () => void): unknown;
  disconnect(slot: () => void): unknown;
}

interface Kernel {
  id?: string;
  status?: string;
  connectionStatus?: string;
  statusChanged?: Signal;
  connectionStatusChanged?: Signal;
}

interface SessionContext {
  session?: { kernel?: Kernel | null } | null;
  statusChanged?: Signal;
  kernelChanged?: Signal;
  connectionStatusChanged?: Signal;
}

interface ClassicEvents {
  on(names: string, listener: () => void): void;
  off(names: string, listener: () => void): void;
}

/** Call `changed` with a sentence while the kernel of a widget does not answer, empty when it does; return how to end. */
export function watchKernel<T extends object>(model: AnyModel<T>, changed: (why: string) => void): () => void {
  const manager = model.widget_manager as unknown as
    | { kernel?: Kernel | null; context?: { sessionContext?: SessionContext } }
    | undefined;
  const session = manager?.context?.sessionContext;
  const current = (): Kernel | null | undefined => (session ? session.session?.kernel : manager?.kernel);
  const first = current();
  let over = false; // a kernel that comes after this one has no such widget
  let said = "";
  const tell = (why: string): void => {
    if (why === said) return;
    said = why;
    changed(why);
  };
  const check = (): void => {
    const kernel = current();
    const knows = session !== undefined || first !== undefined;
    over ||= isClosed(model) || (knows && (!kernel || kernel.id !== first?.id || OVER.has(kernel.status ?? "")));
    tell(over ? ENDED : kernel?.connectionStatus === "disconnected" ? DISCONNECTED : "");
  };
  const end = (): void => {
    over = true;
    check();
  };
  const source = session ?? first;
  const signals = [source?.statusChanged, source?.connectionStatusChanged, session?.kernelChanged].filter((one) => one !== undefined);
  const classic = (globalThis as { Jupyter?: { notebook?: { events?: ClassicEvents } } }).Jupyter?.notebook?.events;
  for (const signal of signals) signal.connect(check);
  classic?.on(CLASSIC_EVENTS, end);
  model.on("comm_live_update", check);
  model.on("comm:close", end);
  check();
  return () => {
    for (const signal of signals) signal.disconnect(check);
    classic?.off(CLASSIC_EVENTS, end);
    model.off("comm_live_update", check);
    model.off("comm:close", end);
  };
}

/**
 * Whether the widget has no channel to a kernel: drawn from a saved notebook, or its kernel ended. anywidget's model has
 * no `comm_live`, but its `set` returns the model of ipywidgets that it wraps (anywidget 0.11, ipywidgets 8.1). If that
 * ends, a widget of a saved notebook seems to be connected.
 */
function isClosed<T extends object>(model: AnyModel<T>): boolean {
  const wrapped = (model.set as (changes: object) => unknown)({}) as { comm_live?: boolean } | undefined;
  return wrapped?.comm_live === false;
}
