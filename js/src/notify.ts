// A notification of the browser when a long run has ended, where the user has allowed it by a press of the bell.

import { h } from "./dom";

interface Model {
  get(name: "state"): { news: string };
  on(event: string, listener: () => void): void;
  off(event: string, listener: () => void): void;
}

const ASK = "Notify me";
const TITLE = "Modal GPU";

/** Show a notification when the state of a run has news; return the function that ends this. */
export function announce(model: Model): () => void {
  let shown = "";
  const look = (): void => {
    const { news } = model.get("state");
    if (!news || news === shown || permission() !== "granted") return;
    shown = news;
    new Notification(TITLE, { body: news, tag: news }); // several pages that show the run replace each other's
  };
  model.on("change:state", look);
  return () => model.off("change:state", look);
}

/** A button by which the user allows notifications; hidden where the browser has an answer, or `wanted` is false. */
export function bellFor(wanted: () => boolean): HTMLElement {
  const bell = h("button", { type: "button", class: "mgs-bell", title: "Notify me when a long run has ended" }, ASK);
  const update = (): void => {
    bell.hidden = !wanted() || permission() !== "default";
  };
  bell.addEventListener("click", () => void Notification.requestPermission().then(update, update));
  update();
  return bell;
}

/** The browser's answer: `default` before the user was asked, `denied` also where the browser has no notifications. */
function permission(): NotificationPermission {
  return "Notification" in globalThis ? Notification.permission : "denied";
}
