// The live strip of a session below the picker: GPUs provided, readings, cost, idle time, Stop.

import type { AnyModel } from "@anywidget/types";
import { dollars, h, setText } from "./dom";
import { clock, decode } from "./frame";
import { canStop, stop } from "./stop";
import { Tiles } from "./tiles";

/** A session's state from Python. Times are seconds since the epoch, by the kernel's clock. */
export interface Strip {
  session: string;
  title: string;
  got: string;
  backend: string;
  simulated: boolean;
  /** Price of an hour as text. */
  price: string;
  /** Dollars per hour that are added to the cost now: 0 while the session waits for a GPU. */
  rate: number | null;
  spent: number | null;
  /** Phase of the cell; `new`: nothing has run; `idle`, `ended`. */
  state: string;
  since: number;
  idle_until: number | null;
  /** Outcome of the last cell; empty while a cell runs, and before the first. */
  outcome: string;
  now: number;
  /** Whether the notebook runs other cells meanwhile. */
  background: boolean;
}

interface Traits {
  strip: Strip | null;
  hears: boolean;
}

const STOP = "Stop";
const NO_SESSION = "No session yet: the first %%modal_gpu cell starts one.";
const NOTHING_RUNS = "Nothing runs";

/** The strip in the page. */
export interface StripView {
  /** Say why the kernel does not answer, and disable Stop; empty: the kernel answers. */
  inert(why: string): void;
  end(): void;
}

/** Draw the strip into `root`. */
export function renderStrip(model: AnyModel<Traits>, root: HTMLElement): StripView {
  const tiles = new Tiles();
  const dot = h("span", { class: "mgs-dot", "aria-hidden": "true" });
  const title = h("span", { class: "mgs-title" });
  const state = h("span", { class: "mgs-state", role: "status" });
  const money = h("span", { class: "mgs-money" });
  const simulated = h("span", { class: "mgs-simulated" }, "simulated");
  const button = h("button", { type: "button", class: "mgs-stop" }, STOP);
  button.addEventListener("click", () => stop(model, runs(model.get("strip")), (text) => (button.textContent = text), model.get("strip")?.background));
  const box = h("section", { class: "mgs", "aria-label": "Session" }, h("div", { class: "mgs-head" }, dot, title, simulated, state, h("span", { class: "mgs-end" }, money, button)), tiles.element);
  root.append(box);

  let ahead = 0; // seconds by which the kernel's clock is ahead of the page's
  let ended = ""; // why the kernel does not answer
  const paint = (): void => {
    const strip = model.get("strip");
    const now = Date.now() / 1000 + ahead;
    dot.dataset["state"] = ended || !strip ? "ended" : strip.state;
    dot.toggleAttribute("data-bad", !ended && strip !== null && !["", "done"].includes(strip.outcome));
    setText(title, strip ? titleText(strip) : "");
    title.hidden = !strip;
    simulated.hidden = !strip?.simulated;
    setText(state, ended || (strip ? stateText(strip, now) : NO_SESSION));
    if (!ended) setText(money, strip ? moneyText(strip, now) : ""); // else the last amount stays
    button.disabled = ended !== "" || !strip || ["new", "ended"].includes(strip.state);
    button.hidden = runs(strip) && !canStop(model) && !strip?.background; // then the notebook's own stop button stops the cell
    button.title = button.disabled ? ended || NOTHING_RUNS : "";
  };
  let ran = false; // the button's text belongs to one cell, or to the idle time after it
  const update = (): void => {
    if (runs(model.get("strip")) !== ran) button.textContent = STOP;
    ran = runs(model.get("strip"));
    ahead = (model.get("strip")?.now ?? Date.now() / 1000) - Date.now() / 1000;
    paint();
  };
  const message = (content: { type: string }, buffers: DataView[]): void => {
    if (content.type !== "frame") return;
    for (const buffer of buffers) for (const frame of decode(buffer)) tiles.show(frame.node, frame.gpus, model.get("strip")?.simulated);
  };
  model.on("change:strip", update);
  model.on("msg:custom", message);
  const timer = setInterval(paint, 1000);
  update();
  model.send({ type: "hello" });
  return {
    inert: (why) => {
      ended = why;
      paint();
    },
    end: () => {
      clearInterval(timer);
      model.off("change:strip", update);
      model.off("msg:custom", message);
    },
  };
}

function titleText(strip: Strip): string {
  return strip.got && strip.got !== strip.title ? `${strip.got} (asked ${strip.title})` : strip.title;
}

/** The price of an hour, and the cost so far once something has run. */
function moneyText(strip: Strip, now: number): string {
  const spent = strip.state === "new" ? "" : `, ${dollars(spentNow(strip, now))} so far`;
  return strip.backend === "local" ? `free (≈ ${strip.price} on Modal${spent})` : `${strip.price}${spent}`;
}

/** Whether a cell runs, in any phase from connecting to stopping. */
export function runs(strip: Strip | null): boolean {
  return strip !== null && !["new", "idle", "ended"].includes(strip.state);
}

const WORDS: Record<string, string> = {
  building: "building image",
  waiting: "waiting for GPU",
  sending: "sending values",
  restarted: "restarted by Modal, running",
};
const LAST: Record<string, string> = { stopped: "was stopped", lost: "lost its container" };

/** `nothing has run yet`, `running 0:41`, `idle, ends in 4:12`, `ended, the last cell failed`. */
export function stateText(strip: Strip, now: number): string {
  if (strip.state === "new") return "nothing has run yet";
  if (runs(strip)) return `${WORDS[strip.state] ?? strip.state} ${clock(now - strip.since)}`;
  const last = ["", "done"].includes(strip.outcome) ? "" : `, the last cell ${LAST[strip.outcome] ?? strip.outcome}`;
  const over = strip.state === "ended" || (strip.idle_until !== null && now >= strip.idle_until);
  return `${over ? "ended" : `idle${strip.idle_until === null ? "" : `, ends in ${clock(strip.idle_until - now)}`}`}${last}`;
}

/** Dollars so far: the amount at the kernel's last message, and what was added since. */
export function spentNow(strip: Strip, now: number): number | null {
  if (strip.spent === null || strip.rate === null) return null;
  const end = strip.idle_until === null ? now : Math.min(now, strip.idle_until);
  return strip.spent + (strip.rate * Math.max(0, end - strip.now)) / 3600;
}
