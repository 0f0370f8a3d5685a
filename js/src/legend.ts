// The legend of a chart: the time, and each line's colour, name and value at that time; a click hides or shows a line.

import { h, setText } from "./dom";

/** A line of the chart, in the format of the legend. */
export interface Entry {
  label: string;
  colour: string;
  isShown: boolean;
}

interface Item {
  button: HTMLElement;
  value: HTMLElement;
}

export class Legend {
  readonly element: HTMLElement;
  private readonly time = h("span", { class: "mgl-time" });
  private readonly list = h("ul", { class: "mgl-list", "aria-label": "Lines" });
  private items: Item[] = [];

  /** `toggle` is called with the place of the line to hide or to show. */
  constructor(private readonly toggle: (place: number, isShown: boolean) => void) {
    this.element = h("div", { class: "mgl" }, this.time, this.list);
  }

  build(entries: readonly Entry[]): void {
    this.items = entries.map(({ label, colour, isShown: isShownAtFirst }, place) => {
      const mark = h("i", { class: "mgl-mark", "aria-hidden": "true" });
      mark.style.background = colour;
      const value = h("b");
      const button = h("button", { type: "button", class: "mgl-item", "aria-pressed": String(isShownAtFirst) }, mark, label, " ", value);
      button.addEventListener("click", () => {
        const isShown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(isShown));
        this.toggle(place, isShown);
      });
      return { button, value };
    });
    this.list.replaceChildren(...this.items.map(({ button }) => h("li", {}, button)));
  }

  /** Show the values at a time; `isLatest`: nobody points at the chart. */
  show(time: string, values: readonly string[], isLatest: boolean): void {
    setText(this.time, time);
    this.time.classList.toggle("mgl-pointed", !isLatest);
    this.items.forEach(({ value }, place) => setText(value, values[place] ?? ""));
  }

  /** `0:41: GPU 0 48 %, GPU 1 52 %`, of the lines that are shown. */
  get words(): string {
    const shown = this.items.filter(({ button }) => button.getAttribute("aria-pressed") === "true");
    return `${this.time.textContent}: ${shown.map(({ button }) => button.textContent).join(", ")}`;
  }
}
