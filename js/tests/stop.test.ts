// Stop: the message where it is answered, the kernel's interrupt else, and a word where there is neither.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ANSWER_TIMEOUT_MS, canStop, stop } from "../src/stop";

type Model = Parameters<typeof stop>[0];
type Listener = (content: { type: string }) => void;

/** A widget of a front end: its kernel, if a widget reaches one there, and whether that hears messages in a cell. */
function widget(kernel?: { interrupt?: () => unknown }, hears = false) {
  const listeners = new Set<Listener>();
  const sent: unknown[] = [];
  const model = {
    on: (_: string, listener: Listener) => listeners.add(listener),
    off: (_: string, listener: Listener) => listeners.delete(listener),
    send: (content: unknown) => {
      sent.push(content);
      if (hears) for (const listener of listeners) listener({ type: "stopping" });
    },
    widget_manager: { kernel },
  };
  return { model: model as unknown as Model, sent, listeners };
}

describe("whether Stop can work", () => {
  afterEach(() => vi.unstubAllGlobals());
  const can = (hears: boolean, kernel?: { interrupt?: () => unknown }): boolean =>
    canStop({ get: () => hears, widget_manager: { kernel } } as unknown as Parameters<typeof canStop>[0]);

  it("does where the kernel hears a message, or the page reaches the kernel", () => {
    expect(can(true)).toBe(true);
    expect(can(false, { interrupt: () => undefined })).toBe(true);
    vi.stubGlobal("Jupyter", { notebook: { kernel: { interrupt: () => undefined } } });
    expect(can(false)).toBe(true);
  });

  it("does not in VS Code and Colab with ipykernel 6", () => {
    expect(can(false)).toBe(false);
    expect(can(false, {})).toBe(false);
  });
});

describe("stop", () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  const pressed = async (made: ReturnType<typeof widget>, running = true, beside = false): Promise<string[]> => {
    const said: string[] = [];
    stop(made.model, running, (text) => said.push(text), beside);
    await vi.advanceTimersByTimeAsync(ANSWER_TIMEOUT_MS);
    expect(made.sent).toEqual([{ type: "stop", running }]);
    expect(made.listeners.size).toBe(0);
    return said;
  };

  it("is a message where the kernel answers one", async () => {
    const interrupt = vi.fn();
    expect(await pressed(widget({ interrupt }, true))).toEqual(["Stopping…"]);
    expect(interrupt).not.toHaveBeenCalled();
  });

  it("is an interrupt where it does not", async () => {
    const interrupt = vi.fn();
    expect(await pressed(widget({ interrupt }))).toEqual(["Stopping…"]);
    expect(interrupt).toHaveBeenCalledOnce();
  });

  it("finds the classic notebook's kernel", async () => {
    const interrupt = vi.fn();
    vi.stubGlobal("Jupyter", { notebook: { kernel: { interrupt } } });
    expect(await pressed(widget())).toEqual(["Stopping…"]);
    expect(interrupt).toHaveBeenCalledOnce();
  });

  it("never interrupts where no cell of its session runs: that would be another's", async () => {
    const interrupt = vi.fn();
    expect(await pressed(widget({ interrupt }), false)).toEqual([]);
    expect(interrupt).not.toHaveBeenCalled();
  });

  it("never interrupts for a background cell: that would stop the notebook's own", async () => {
    const interrupt = vi.fn();
    expect(await pressed(widget({ interrupt }), true, true)).toEqual(["Stops after the running cell"]);
    expect(await pressed(widget({ interrupt }, true), true, true)).toEqual(["Stopping…"]);
    expect(interrupt).not.toHaveBeenCalled();
  });

  it("says so where a widget does not reach its kernel, or the interrupt fails", async () => {
    expect(await pressed(widget())).toEqual(["Use the notebook's ■"]);
    const interrupt = () => Promise.reject(new Error("the server is gone"));
    expect(await pressed(widget({ interrupt }))).toEqual(["Stopping…", "Use the notebook's ■"]);
  });
});
