// @vitest-environment happy-dom
// The notification at the end of a long run, and the bell that asks the browser.

import { afterEach, describe, expect, it, vi } from "vitest";
import { announce, bellFor } from "../src/notify";

/** A browser's notifications, which the user has allowed or not. */
function browser(permission: NotificationPermission) {
  const shown: string[] = [];
  class Shown {
    static permission = permission;
    static requestPermission = vi.fn(async () => (Shown.permission = "granted"));
    constructor(_title: string, options: { body: string }) {
      shown.push(options.body);
    }
  }
  vi.stubGlobal("Notification", Shown);
  return { shown, Shown };
}

/** A dashboard's model, whose state a test changes. */
function dashboard() {
  let listener = (): void => undefined;
  const state = { news: "" };
  const model = { get: () => state, on: (_: string, each: () => void) => void (listener = each), off: () => void (listener = () => undefined) };
  return { model, says: (news: string) => ((state.news = news), listener()) };
}

describe("announce", () => {
  afterEach(() => vi.unstubAllGlobals());

  it("tells news once, where the user has allowed it", () => {
    const { shown } = browser("granted");
    const { model, says } = dashboard();
    const end = announce(model);
    says("");
    says("train is done");
    says("train is done");
    expect(shown).toEqual(["train is done"]);
    end();
    says("more");
    expect(shown).toEqual(["train is done"]);
  });

  it("tells nothing where the user has not, or the browser cannot", () => {
    const { shown, Shown } = browser("default");
    const { model, says } = dashboard();
    announce(model);
    says("train is done");
    expect(shown).toEqual([]);
    expect(Shown.requestPermission).not.toHaveBeenCalled();
  });
});

describe("the bell", () => {
  afterEach(() => vi.unstubAllGlobals());

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
