// @vitest-environment happy-dom
// Where Insert puts the header: into the cell below, into a new cell, and never into another magic's cell.

import { describe, expect, it } from "vitest";
import { cellsAround, type Cells } from "../src/cells";
import { insertHeader, withHeader } from "../src/insert";

const HEADER = "%%modal_gpu H100:2";

/** Cells as a list of sources; `# md` is a text cell. */
class Book implements Cells {
  constructor(
    readonly list: string[],
    readonly own = 0,
  ) {}
  get count(): number {
    return this.list.length;
  }
  isCode(index: number): boolean {
    return !this.list[index]!.startsWith("# md");
  }
  source(index: number): string {
    return this.list[index]!;
  }
  write(index: number, source: string): void {
    this.list[index] = source;
  }
  insert(index: number, source: string): void {
    this.list.splice(index, 0, source);
  }
}

describe("insert", () => {
  it.each([
    [["pick", ""], ["pick", `${HEADER}\n`], "Inserted into the cell below."],
    [["pick", "x = 1\ny"], ["pick", `${HEADER}\nx = 1\ny`], "Inserted into the cell below."],
    [["pick"], ["pick", `${HEADER}\n`], "Inserted a new cell below."],
    [["pick", "# md text", "x"], ["pick", `${HEADER}\n`, "# md text", "x"], "Inserted a new cell below."],
    [["pick", "%%time\nx"], ["pick", `${HEADER}\n`, "%%time\nx"], "Inserted a new cell below."],
    [["pick", "%%modal_gpu_else\nx"], ["pick", `${HEADER}\n`, "%%modal_gpu_else\nx"], "Inserted a new cell below."],
    [
      ["pick", "%%modal_gpu L4 --timeout 2h\nx"],
      ["pick", `${HEADER}\nx`],
      "Replaced %%modal_gpu L4 --timeout 2h in the cell below.",
    ],
    [["pick", `${HEADER}\nx`], ["pick", `${HEADER}\nx`], "The cell below has this line already."],
    [["pick", "# why\n\n%%modal_gpu\nx"], ["pick", `# why\n\n${HEADER}\nx`], "Replaced %%modal_gpu in the cell below."],
  ])("%j", (before, after, said) => {
    const book = new Book([...before]);
    expect(insertHeader(book, HEADER)).toBe(said);
    expect(book.list).toEqual(after);
  });

  it("replaces a header with its continuation lines", () => {
    expect(withHeader("%%modal_gpu L4 \\\n  --timeout 2h\nx", HEADER)).toEqual({
      source: `${HEADER}\nx`,
      replaced: "%%modal_gpu L4 --timeout 2h",
    });
    expect(withHeader("%%modal_gpu L4 \\", HEADER)?.source).toBe(HEADER);
  });
});

describe("the cells around a widget", () => {
  const manager = (more: object = {}): object => {
    const cells = ["a", "b"].map((id) => ({ id, cell_type: "code", getSource: () => id, setSource: () => {} }));
    return { context: { model: { sharedModel: { cells, insertCell: () => {} }, ...more } } };
  };
  const model = (widget_manager: unknown): never => ({ get: () => "b", widget_manager }) as never;

  it("are found by the page, or by the cell that made the widget", () => {
    document.body.innerHTML = '<div class="jp-Notebook"><p class="jp-Cell"></p><p class="jp-Cell"><i></i></p></div><b></b>';
    const cells = cellsAround(model(manager()), document.querySelector("i")!);
    expect(cells?.own).toBe(1);
    expect(cells?.source(1)).toBe("b");
    expect(cellsAround(model(manager()), document.querySelector("b")!)?.own).toBe(1);
    document.querySelector(".jp-Cell")!.setAttribute("data-windowed-list-index", "0");
    document.querySelectorAll(".jp-Cell")[1]!.setAttribute("data-windowed-list-index", "17");
    expect(cellsAround(model(manager()), document.querySelector("i")!)).toBe(null);
  });

  it("are not given by other front ends, nor written in a read-only notebook", () => {
    expect(cellsAround(model(undefined), document.body)).toBe(null);
    expect(cellsAround(model({ kernel: {} }), document.body)).toBe(null);
    expect(cellsAround(model(manager({ readOnly: true })), document.body)).toBe(null);
  });
});
