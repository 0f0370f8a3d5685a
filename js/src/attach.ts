// The bar below a cell of a reopened notebook whose detached session still exists: what the kernel says of it, and Attach.
//
// A widget without a view. Nothing is asked before the kernel has the extension, and nothing runs before Attach is pressed.

import type { AnyModel } from "@anywidget/types";
import { Bars, cellsOf, contextOf, type NotebookContext } from "./bars";
import { h } from "./dom";
import { execute, type KernelConnection } from "./execute";
import { watchKernel } from "./kernel";
import { offersFor, recordedIn, wordsOf, type Found, type Offer } from "./recorded";

type Model = AnyModel<Record<string, never>>;

/** Milliseconds between two questions to the kernel, which may ask Modal. */
const ASK_EACH_MS = 30_000;

interface Context extends NotebookContext {
  sessionContext?: { session?: { kernel?: KernelConnection | null } | null };
}

class Offers {
  private readonly bars: Bars;
  /** What each bar offers, to leave a bar that has not changed: it may have the focus. */
  private readonly shown = new Map<string, string>();

  constructor(
    private readonly model: Model,
    private readonly context: Context,
  ) {
    this.bars = new Bars(context);
  }

  /** Ask the kernel about the sessions that the notebook names, if any. */
  ask = (): void => {
    const names = new Set(recordedIn(cellsOf(this.context)).map(({ session }) => session));
    if (names.size) this.model.send({ type: "ask", sessions: [...names] });
    else this.clear();
  };

  /** Ask again while a bar is seen: the run may have ended, or another cell may have attached. */
  again = (): void => {
    if (!this.bars.isEmpty && document.visibilityState === "visible") this.ask();
  };

  hear = (content: { type: string; found?: Found[] }): void => {
    if (content.type === "look") this.ask();
    if (content.type !== "found" || !content.found) return;
    const offers = offersFor(recordedIn(cellsOf(this.context)), content.found);
    for (const cell of this.shown.keys()) {
      if (!offers.some(({ recorded }) => recorded.cell === cell)) this.remove(cell);
    }
    for (const offer of offers) this.show(offer);
    this.bars.hideDeadWidgets(recordedIn(cellsOf(this.context)).map(({ cell }) => cell));
  };

  clear(): void {
    this.bars.clear();
    this.shown.clear();
  }

  end(): void {
    this.bars.end();
  }

  private show(offer: Offer): void {
    const { found, recorded } = offer;
    const [before, after] = wordsOf(offer);
    const says = JSON.stringify([before, found]);
    if (this.shown.get(recorded.cell) === says && this.bars.has(recorded.cell)) return;
    const label = `Attach to session ${found.session}: its output appears below this cell`;
    const attach = h("button", { type: "button", class: "mga-main", "aria-label": label, title: found.line }, "Attach");
    const dot = h("span", { class: "mgs-dot", "data-state": found.state, "aria-hidden": "true" });
    const words = h("span", { role: "status" }, dot, before, h("b", {}, found.session), after);
    attach.addEventListener("click", () => void this.attach(offer));
    this.bars.put(recorded.cell, h("div", { class: "mga", role: "group", "aria-label": `Detached session ${found.session}` }, words, attach));
    this.shown.set(recorded.cell, says);
  }

  private async attach({ found, recorded }: Offer): Promise<void> {
    const cell = cellsOf(this.context).find(({ id }) => id === recorded.cell);
    const kernel = this.context.sessionContext?.session?.kernel;
    if (!cell?.outputs || !kernel) return;
    this.remove(recorded.cell);
    await execute(kernel, cell, found.line, (question) => {
      if (question) this.bars.put(cell.id, question);
      else this.bars.remove(cell.id);
    });
  }

  private remove(cell: string): void {
    this.bars.remove(cell);
    this.shown.delete(cell);
  }
}

export default {
  initialize({ model }: { model: Model }): (() => void) | void {
    const context = contextOf(model.widget_manager);
    if (!context) return;
    const offers = new Offers(model, context);
    model.on("msg:custom", offers.hear);
    const endWatch = watchKernel(model, (why) => why && offers.clear());
    const timer = setInterval(offers.again, ASK_EACH_MS);
    document.addEventListener("visibilitychange", offers.again);
    offers.ask();
    return () => {
      model.off("msg:custom", offers.hear);
      document.removeEventListener("visibilitychange", offers.again);
      clearInterval(timer);
      endWatch();
      offers.end();
    };
  },
};
