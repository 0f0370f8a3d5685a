// Stop, for dashboard and strip: by a message if the kernel answers during a cell, else by interrupting the kernel.

import type { AnyModel } from "@anywidget/types";

/** Milliseconds to wait for the kernel's answer, which takes 60 to 90 ms if the kernel answers during a cell. */
export const ANSWER_TIMEOUT_MS = 600;

const STOPPING = "Stopping…";
/** Shown where a front end gives widgets no access to their kernel. */
const USE_NOTEBOOK_STOP = "Use the notebook's ■";

interface Kernel {
  interrupt: () => unknown;
}

/** Shown where a background cell's message waits for the notebook's own cell. */
const LATER = "Stops after the running cell";

/**
 * Stop what the kernel runs for this widget. `running`: a cell runs, as far as the page knows; only then is the kernel
 * interrupted, and never for a background cell (`beside`), because the interrupt would stop another cell. `say` shows
 * the result.
 */
export function stop<T extends object>(
  model: AnyModel<T>,
  running: boolean,
  say: (text: string) => void,
  beside = false,
): void {
  let answered = false;
  const listen = (content: { type: string }): void => {
    if (content.type !== "stopping") return;
    answered = true;
    say(STOPPING);
  };
  model.on("msg:custom", listen);
  model.send({ type: "stop", running });
  setTimeout(() => {
    model.off("msg:custom", listen);
    if (answered || !running) return;
    if (beside) {
      say(LATER);
      return;
    }
    const kernel = kernelOf(model);
    say(kernel ? STOPPING : USE_NOTEBOOK_STOP);
    Promise.resolve(kernel?.interrupt()).catch(() => say(USE_NOTEBOOK_STOP));
  }, ANSWER_TIMEOUT_MS);
}

/**
 * Whether Stop has an effect while a cell runs: the kernel hears messages then, or the front end gives widgets their
 * kernel. VS Code and Colab do not, and ipykernel 6 hears nothing.
 */
export function canStop<T extends { hears: boolean }>(model: AnyModel<T>): boolean {
  return model.get("hears") || kernelOf(model) !== undefined;
}

/** The kernel of a widget: front ends differ in how to access it, and some offer no access. */
function kernelOf<T extends object>(model: AnyModel<T>): Kernel | undefined {
  const host = model.widget_manager as unknown as { kernel?: Partial<Kernel> } | undefined;
  const classic = (globalThis as { Jupyter?: { notebook?: { kernel?: Kernel } } }).Jupyter?.notebook?.kernel;
  return host?.kernel?.interrupt ? (host.kernel as Kernel) : classic;
}
