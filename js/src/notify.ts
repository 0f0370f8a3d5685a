// The browser's notification of the end of a long run, and a button that asks the browser to allow notifications.

import { h } from "./dom";

const TITLE = "Modal GPU";

/** Show a notification, if the user has allowed it. */
export function notify(text: string): void {
  if (permission() !== "granted") return;
  new Notification(TITLE, { body: text, tag: text }); // several pages that show the run replace each other's
}

/** A button that asks the browser, which answers to a press only; `answered` is called once it has an answer. */
export function askButton(words: string, answered: () => void): HTMLButtonElement {
  const button = h("button", { type: "button", class: "mgs-bell", title: "Notify me when a long run has ended" }, words);
  button.addEventListener("click", () => void ask().then(answered, answered));
  return button;
}

/** The button of a dashboard; hidden where the browser has an answer, or `wanted` is false. */
export function bellFor(wanted: () => boolean): HTMLElement {
  const update = (): void => {
    bell.hidden = !wanted() || permission() !== "default";
  };
  const bell = askButton("Notify me", update);
  update();
  onAnswer(update);
  return bell;
}

/** Have the browser ask the user. Firefox and Safari do so only shortly after a press of a key or a button. */
export async function ask(): Promise<NotificationPermission> {
  return Notification.requestPermission();
}

/** Whether the user has pressed a key or a button of this page in the last seconds; browsers that do not say so: true. */
export function wasPressed(): boolean {
  return (navigator as { userActivation?: { isActive: boolean } }).userActivation?.isActive ?? true;
}

/** The browser's answer: `default` before the user was asked, `denied` also where the browser has no notifications. */
export function permission(): NotificationPermission {
  return "Notification" in globalThis ? Notification.permission : "denied";
}

/** Call `changed` when the user answers, wherever; return how to end. */
export function onAnswer(changed: () => void): () => void {
  let status: PermissionStatus | undefined;
  let isOver = false;
  void navigator.permissions?.query({ name: "notifications" }).then(
    (found) => {
      if (isOver) return;
      status = found;
      found.addEventListener("change", changed);
    },
    () => undefined, // a browser without this question: the button goes when it is pressed
  );
  return () => {
    isOver = true;
    status?.removeEventListener("change", changed);
  };
}
