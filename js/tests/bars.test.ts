// @vitest-environment happy-dom
// Where bars stand: below their cell, in the panel of their notebook, while the notebook draws, moves and removes cells.

import { beforeEach, describe, expect, it, vi } from "vitest";
import { Bars, type CellModel } from "../src/bars";

const cell = (id: string): CellModel => ({ id });
const bar = (text: string): HTMLElement => Object.assign(document.createElement("div"), { className: "mga", textContent: text });

/** A panel as JupyterLab draws it; `indexes`: the cells in view, by their index, if the notebook draws no others. */
function panel(id: string, path: string, cells: number, indexes?: number[]): HTMLElement {
  const drawn = indexes ?? Array.from({ length: cells }, (_, index) => index);
  const items = drawn.map((index) => `<div class="jp-Cell"${indexes ? ` data-windowed-list-index="${index}"` : ""}><i class="jp-CellFooter"></i></div>`);
  document.body.insertAdjacentHTML(
    "beforeend",
    `<li class="lm-TabBar-tab" data-id="${id}" title="Name: x\nPath: ${path}\nLast Saved: now"></li>
     <div class="jp-NotebookPanel" id="${id}"><div class="jp-Notebook">${items.join("")}</div></div>`,
  );
  return document.getElementById(id)!.querySelector<HTMLElement>(".jp-Notebook")!;
}

const shown = (): [string, number, string][] =>
  [...document.querySelectorAll(".mga")].map((each) => {
    const home = each.parentElement!;
    return [home.closest(".jp-NotebookPanel")!.id, [...home.parentElement!.children].indexOf(home), each.textContent!];
  });

describe("a bar", () => {
  beforeEach(() => (document.body.innerHTML = ""));

  it("is below its cell and above the cell's footer, one a cell", () => {
    panel("a", "a.ipynb", 3);
    const bars = new Bars({ path: "a.ipynb", model: { cells: [cell("x"), cell("y"), cell("z")] } });
    bars.put("y", bar("first"));
    bars.put("y", bar("second"));
    expect(shown()).toEqual([["a", 1, "second"]]);
    expect(document.querySelector(".mga")!.nextElementSibling!.className).toBe("jp-CellFooter");
    bars.end();
    expect(shown()).toEqual([]);
  });

  it("is in the panel of its notebook, whatever other notebooks are open", () => {
    panel("a", "a.ipynb", 2);
    panel("b", "sub/a.ipynb", 2);
    new Bars({ path: "sub/a.ipynb", model: { cells: [cell("x"), cell("y")] } }).put("x", bar("here"));
    expect(shown()).toEqual([["b", 0, "here"]]);
  });

  it("is nowhere while no panel is known to be its notebook's", () => {
    panel("a", "a.ipynb", 2);
    panel("b", "b.ipynb", 2);
    new Bars({ path: "c.ipynb", model: { cells: [cell("x")] } }).put("x", bar("here"));
    expect(shown()).toEqual([]);
  });

  it("follows its cell where the notebook draws only the cells in view", async () => {
    const list = panel("a", "a.ipynb", 9, [4, 5]);
    const cells = Array.from({ length: 9 }, (_, index) => cell(`c${index}`));
    const bars = new Bars({ path: "a.ipynb", model: { cells } });
    bars.put("c7", bar("seven"));
    expect(shown()).toEqual([]);
    bars.put("c5", bar("five"));
    expect(shown()).toEqual([["a", 1, "five"]]);
    list.insertAdjacentHTML("beforeend", `<div class="jp-Cell" data-windowed-list-index="7"></div>`);
    await vi.waitFor(() => expect(shown()).toEqual([["a", 1, "five"], ["a", 2, "seven"]]));
    bars.end();
  });

  it("hides what JupyterLab shows for a widget whose kernel has ended, also later, and no other output", async () => {
    const list = panel("a", "a.ipynb", 1);
    const output = (html: string): string => `<div class="jp-OutputArea-child"><div class="jp-OutputArea-output">${html}</div></div>`;
    list.querySelector(".jp-Cell")!.insertAdjacentHTML(
      "beforeend",
      output("Error displaying widget: model not found") + output("<pre>Error displaying widget</pre>") + output("text"),
    );
    new Bars({ path: "a.ipynb", model: { cells: [cell("x")] } }).hideDeadWidgets(["x", "unknown"]);
    expect([...list.querySelectorAll<HTMLElement>(".jp-OutputArea-child")].map((each) => each.style.display)).toEqual(["none", "", ""]);
    list.querySelector(".jp-Cell")!.insertAdjacentHTML("beforeend", output("Error displaying widget: model not found"));
    await Promise.resolve(); // observers are called
    expect(list.querySelectorAll<HTMLElement>(".jp-OutputArea-child")[3]!.style.display).toBe("none");
  });
});
