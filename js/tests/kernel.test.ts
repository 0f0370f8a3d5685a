// When a widget knows that its kernel does not answer, in each front end that says so.

import { afterEach, describe, expect, it, vi } from "vitest";
import { DISCONNECTED, ENDED, watchKernel } from "../src/kernel";

type Model = Parameters<typeof watchKernel>[0];

class Signal {
  readonly slots = new Set<() => void>();
  connect = (slot: () => void): void => void this.slots.add(slot);
  disconnect = (slot: () => void): void => void this.slots.delete(slot);
  emit = (): void => this.slots.forEach((slot) => slot());
}

const kernelOf = (id: string) => ({ id, status: "idle", connectionStatus: "connected" });

function lab(kernel: ReturnType<typeof kernelOf> | null = kernelOf("a")) {
  const session = {
    session: kernel && { kernel },
    statusChanged: new Signal(),
    kernelChanged: new Signal(),
    connectionStatusChanged: new Signal(),
  };
  return { kernel, session, manager: { context: { sessionContext: session } } };
}

function watched(widget_manager: unknown, wrapped: { comm_live?: boolean } = {}) {
  const listeners = new Map<string, () => void>();
  const said: string[] = [];
  const model = {
    on: (name: string, listener: () => void) => listeners.set(name, listener),
    off: (name: string) => listeners.delete(name),
    set: () => wrapped,
    widget_manager,
  };
  const end = watchKernel(model as unknown as Model, (why) => said.push(why));
  return { said, listeners, end };
}

describe("a kernel", () => {
  afterEach(() => vi.unstubAllGlobals());

  it.each(["restarting", "autorestarting", "terminating", "dead"])("that is %s has ended, whatever comes after it", (status) => {
    const { kernel, session, manager } = lab();
    const { said } = watched(manager);
    kernel!.status = status;
    session.statusChanged.emit();
    kernel!.status = "idle";
    session.statusChanged.emit();
    expect(said).toEqual([ENDED]);
  });

  it("that was replaced or shut down has ended", () => {
    for (const after of [null, { kernel: kernelOf("b") }]) {
      const { session, manager } = lab();
      const { said } = watched(manager);
      session.session = after;
      session.kernelChanged.emit();
      expect(said).toEqual([ENDED]);
    }
    expect(watched(lab(null).manager).said).toEqual([ENDED]);
  });

  it("that lost its connection may come back", () => {
    const { kernel, session, manager } = lab();
    const { said } = watched(manager);
    for (const status of ["connecting", "disconnected", "connected"]) {
      kernel!.connectionStatus = status;
      session.connectionStatusChanged.emit();
    }
    expect(said).toEqual([DISCONNECTED, ""]);
  });

  it("of a console, of the classic notebook, or of any other front end is watched by what that says", () => {
    const kernel = { ...kernelOf("a"), statusChanged: new Signal(), connectionStatusChanged: new Signal() };
    const console_ = watched({ kernel });
    kernel.status = "dead";
    kernel.statusChanged.emit();
    expect(console_.said).toEqual([ENDED]);

    let dies = (): void => {};
    vi.stubGlobal("Jupyter", { notebook: { events: { on: (_: string, listener: () => void) => (dies = listener), off: () => {} } } });
    const classic = watched({});
    dies();
    expect(classic.said).toEqual([ENDED]);
    vi.unstubAllGlobals();

    const other = watched(undefined);
    expect(other.said).toEqual([]);
    other.listeners.get("comm:close")!();
    expect(other.said).toEqual([ENDED]);
    expect(watched(undefined, { comm_live: false }).said).toEqual([ENDED]);
  });

  it("is left alone when the widget is", () => {
    const { session, manager } = lab();
    const { end, listeners } = watched(manager);
    end();
    expect([session.statusChanged.slots.size, session.kernelChanged.slots.size, listeners.size]).toEqual([0, 0, 0]);
  });
});
