// The cell of a run in a page loaded while the run goes on.

import { describe, expect, it } from "vitest";
import { cellOf, type Cell } from "../src/follow";

const cell = (id: string, code: string): Cell => ({ id, outputs: {} as NonNullable<Cell["outputs"]>, sharedModel: { getSource: () => code } });

describe("the cell of a run", () => {
  const cells = [cell("a", "one"), cell("b", "two"), cell("c", "two")];

  it.each([
    ["b", "one", "b"],
    ["x", "one", "a"],
    ["", "one", "a"],
    ["x", "two", undefined],
    ["x", "three", undefined],
    ["x", "", undefined],
  ])("by id %s, else by its code %s: %s", (id, code, found) => {
    expect(cellOf(cells, id, code)?.id).toBe(found);
  });

  it("has outputs", () => {
    expect(cellOf([{ id: "a", sharedModel: { getSource: () => "one" } }], "x", "one")).toBeUndefined();
  });
});
