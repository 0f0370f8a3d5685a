// Notifications of a kernel's long runs: a widget without a view. Where the browser has not been asked yet, one button
// below the cell that the kernel names asks for its permission.

import type { AnyModel } from "@anywidget/types";
import { Bars, cellsOf, contextOf, type CellModel } from "./bars";
import { h } from "./dom";
import { cellOf, type Cell } from "./follow";
import { ask, askButton, notify, onAnswer, permission, wasPressed } from "./notify";

interface Traits {
  cell: string;
  code: string;
  wanted: boolean;
}

type Model = AnyModel<Traits>;

const BLOCKED = "This browser blocks notifications of this page: allow them in the settings of the site.";

class Button {
  private readonly bars: Bars;
  private shown = "";

  constructor(
    private readonly model: Model,
    private readonly cells: () => CellModel[],
    bars: Bars,
  ) {
    this.bars = bars;
  }

  /** Show the button where it belongs, if the browser has no answer yet. */
  update = (): void => {
    const cell = cellOf(this.cells() as Cell[], this.model.get("cell"), this.model.get("code"))?.id ?? "";
    const isBlocked = permission() === "denied" && this.model.get("wanted");
    const wanted = permission() === "default" || isBlocked ? cell : "";
    const shows = wanted && `${wanted} ${isBlocked}`;
    if (shows === this.shown) return;
    this.bars.clear();
    this.shown = shows;
    if (wanted) this.bars.put(wanted, isBlocked ? this.blocked() : this.asking());
  };

  /** The user has just said that notifications are wanted. */
  begin = (): void => {
    if (this.model.get("wanted") && permission() === "default" && wasPressed()) void ask().then(this.update, this.update);
    this.update();
  };

  private asking(): HTMLElement {
    const words = this.model.get("wanted") ? "Allow notifications" : "Notify me";
    const says = this.model.get("wanted") ? "and this page tells when a long run has ended" : "when this run has ended";
    return h("div", { class: "mga", role: "group", "aria-label": "Notifications" }, askButton(words, this.update), h("span", {}, says));
  }

  private blocked(): HTMLElement {
    const close = h("button", { type: "button", "aria-label": "Close" }, "×");
    const bar = h("div", { class: "mga", role: "group", "aria-label": "Notifications" }, h("span", { role: "status" }, BLOCKED), close);
    close.addEventListener("click", () => this.bars.clear());
    return bar;
  }
}

export default {
  initialize({ model }: { model: Model }): () => void {
    const context = contextOf(model.widget_manager);
    const bars = context && new Bars(context);
    const button = bars && new Button(model, () => cellsOf(context), bars);
    const hear = (content: { type: string; text?: unknown }): void => {
      if (content.type === "news") notify(String(content.text));
    };
    model.on("msg:custom", hear);
    const traits = ["cell", "code", "wanted"] as const;
    if (button) for (const trait of traits) model.on(`change:${trait}`, trait === "wanted" ? button.begin : button.update);
    button?.begin();
    const endAnswers = button ? onAnswer(button.update) : () => undefined;
    return () => {
      model.off("msg:custom", hear);
      if (button) for (const trait of traits) model.off(`change:${trait}`, trait === "wanted" ? button.begin : button.update);
      endAnswers();
      bars?.end();
    };
  },
};
