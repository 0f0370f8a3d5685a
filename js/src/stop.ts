// Stop, as dashboard and strip press it: by message where the kernel hears one while a cell blocks it, by interrupt else.

import type { AnyModel } from "@anywidget/types";

/** Milliseconds the kernel has to answer a message; it takes 60 to 90 where it hears one. */
export const PATIENCE = 600;

const STOPPING = "Stopping…";
/** Where a front end has no way from a widget to its kernel. */
const BY_HAND = "Use the notebook's ■";

interface Kernel {
  interrupt: () => unknown;
}

/**
 * Stop what the kernel runs for this widget. `running`: a cell runs, as far as the page knows; only then the kernel is
 * interrupted. `say` shows what became of the press.
 */
export function stop<T extends object>(model: AnyModel<T>, running: boolean, say: (text: string) => void): void {
  let heard = false;
  const listen = (content: { type: string }): void => {
    if (content.type !== "stopping") return;
    heard = true;
    say(STOPPING);
  };
  model.on("msg:custom", listen);
  model.send({ type: "stop", running });
  setTimeout(() => {
    model.off("msg:custom", listen);
    if (heard || !running) return;
    const kernel = kernelOf(model);
    say(kernel ? STOPPING : BY_HAND);
    Promise.resolve(kernel?.interrupt()).catch(() => say(BY_HAND));
  }, PATIENCE);
}

/** The front ends differ in how a widget reaches its kernel; some have no way. */
function kernelOf<T extends object>(model: AnyModel<T>): Kernel | undefined {
  const host = model.widget_manager as unknown as { kernel?: Partial<Kernel> } | undefined;
  const classic = (globalThis as { Jupyter?: { notebook?: { kernel?: Kernel } } }).Jupyter?.notebook?.kernel;
  return host?.kernel?.interrupt ? (host.kernel as Kernel) : classic;
}
