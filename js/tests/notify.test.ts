// @vitest-environment happy-dom
// The notification at the end of a long run, and the buttons that ask the browser.

import { afterEach, describe, expect, it, vi } from "vitest";
import notifier from "../src/notifier";
import { bellFor, notify } from "../src/notify";

/** A browser's notifications, which the user has allowed or not. */
function browser(permission: NotificationPermission, isPressed = true) {
  const shown: string[] = [];
  class Shown {
    static permission = permission;
    static requestPermission = vi.fn(async () => (Shown.permission = "granted"));
    constructor(_title: string, options: { body: string }) {
      shown.push(options.body);
    }
  }
  vi.stubGlobal("Notification", Shown);
  vi.stubGlobal("navigator", { userActivation: { isActive: isPressed } });
  return { shown, Shown };
}

afterEach(() => vi.unstubAllGlobals());

describe("a notification", () => {
  it("is shown where the user has allowed it", () => {
    const { shown } = browser("granted");
    notify("train is done");
    expect(shown).toEqual(["train is done"]);
  });

  it.each(["default", "denied"] as const)("is not shown where the answer is %s", (answer) => {
    const { shown, Shown } = browser(answer);
    notify("train is done");
    expect(shown).toEqual([]);
    expect(Shown.requestPermission).not.toHaveBeenCalled();
  });
});

describe("the bell", () => {
  it("asks when it is pressed, and goes away", async () => {
    const { Shown } = browser("default");
    const bell = bellFor(() => true);
    expect(bell.hidden).toBe(false);
    expect(Shown.requestPermission).not.toHaveBeenCalled();
    bell.click();
    await vi.waitFor(() => expect(bell.hidden).toBe(true));
    expect(Shown.requestPermission).toHaveBeenCalledOnce();
  });

  it("is hidden where the setting is off, or the browser has an answer or no notifications", () => {
    browser("default");
    expect(bellFor(() => false).hidden).toBe(true);
    browser("granted");
    expect(bellFor(() => true).hidden).toBe(true);
    vi.stubGlobal("Notification", undefined);
    delete (globalThis as { Notification?: unknown }).Notification;
    expect(bellFor(() => true).hidden).toBe(true);
  });
});

/** The notifier's model beside a notebook of two cells. */
function page(state: { cell: string; code: string; wanted: boolean }) {
  document.body.innerHTML = `<div class="jp-NotebookPanel"><div class="jp-Notebook"><div class="jp-Cell"></div><div class="jp-Cell"></div></div></div>`;
  const listeners = new Map<string, (content?: unknown) => void>();
  const model = {
    get: (name: keyof typeof state) => state[name],
    on: (name: string, listener: () => void) => listeners.set(name, listener),
    off: (name: string) => listeners.delete(name),
    widget_manager: { context: { path: "a.ipynb", model: { cells: [{ id: "one", outputs: {} }, { id: "two", outputs: {} }] } } },
  };
  const end = notifier.initialize({ model } as unknown as Parameters<typeof notifier.initialize>[0]);
  const buttons = () => [...document.querySelectorAll<HTMLButtonElement>(".mga button")];
  const says = (name: string, content?: unknown): void => listeners.get(name)!(content);
  return { state, says, buttons, end };
}

describe("the button below a cell", () => {
  it("is the only one, asks when it is pressed, and goes away", async () => {
    const { Shown } = browser("default");
    const { state, says, buttons } = page({ cell: "two", code: "", wanted: false });
    expect(buttons().map((each) => each.textContent)).toEqual(["Notify me"]);
    expect(buttons()[0]!.closest(".jp-Cell")).toBe(document.querySelectorAll(".jp-Cell")[1]);
    state.cell = "one";
    says("change:cell");
    expect(buttons()).toHaveLength(1);
    expect(buttons()[0]!.closest(".jp-Cell")).toBe(document.querySelectorAll(".jp-Cell")[0]);
    buttons()[0]!.click();
    await vi.waitFor(() => expect(buttons()).toEqual([]));
    expect(Shown.requestPermission).toHaveBeenCalledOnce();
  });

  it("is not shown where the browser has an answer, or the kernel names no cell", () => {
    browser("granted");
    expect(page({ cell: "two", code: "", wanted: false }).buttons()).toEqual([]);
    browser("denied");
    expect(page({ cell: "two", code: "", wanted: false }).buttons()).toEqual([]);
    browser("default");
    expect(page({ cell: "", code: "", wanted: false }).buttons()).toEqual([]);
  });

  it("is not needed where the user has just pressed a key: the browser asks at once", async () => {
    const { Shown } = browser("default");
    const { buttons } = page({ cell: "two", code: "", wanted: true });
    expect(Shown.requestPermission).toHaveBeenCalledOnce();
    await vi.waitFor(() => expect(buttons()).toEqual([]));
  });

  it("is shown where the user has pressed nothing lately", () => {
    const { Shown } = browser("default", false);
    const { buttons } = page({ cell: "two", code: "", wanted: true });
    expect(Shown.requestPermission).not.toHaveBeenCalled();
    expect(buttons().map((each) => each.textContent)).toEqual(["Allow notifications"]);
  });

  it("says how to allow what the browser blocks, to a user who wants it", () => {
    browser("denied");
    const { buttons } = page({ cell: "two", code: "", wanted: true });
    expect(document.querySelector(".mga")!.textContent).toContain("allow them in the settings of the site");
    buttons()[0]!.click();
    expect(document.querySelector(".mga")).toBeNull();
  });

  it("goes with the widget, and news are shown", () => {
    const { shown, Shown } = browser("default");
    const { says, end } = page({ cell: "two", code: "", wanted: false });
    Shown.permission = "granted";
    says("msg:custom", { type: "news", text: "train is done" });
    expect(shown).toEqual(["train is done"]);
    end();
    expect(document.querySelector(".mga")).toBeNull();
  });
});
