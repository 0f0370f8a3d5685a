// What saved outputs say of detached sessions: which cell is offered, and what strangers' metadata can do: nothing.

import { describe, expect, it } from "vitest";
import type { CellModel } from "../src/bars";
import { offersFor, recordedIn, wordsOf, type Found } from "../src/recorded";

const cell = (id: string, ...marks: unknown[]): CellModel => ({
  id,
  outputs: {
    length: marks.length,
    get: (index: number) => ({ metadata: { modal_gpu: marks[index] } }),
    add: () => undefined,
    set: () => undefined,
    clear: () => undefined,
  },
});
const status = (session: unknown, run?: unknown) => ({ kind: "status", session, run });
const receipt = (session: unknown, run?: unknown) => ({ kind: "receipt", session, run });
const found = (run: string, state: Found["state"] = "running"): Found => ({ session: "trip", run, state, line: "" });

describe("what is recorded", () => {
  it("is the last session of each cell, its run, and whether its end was seen", () => {
    const cells = [cell("a", status("trip", "1"), receipt("trip", "1")), { id: "text" }, cell("b", { kind: "note" }, status("trip", "2")), cell("c")];
    expect(recordedIn(cells)).toEqual([
      { cell: "a", session: "trip", run: "1", isFinished: true },
      { cell: "b", session: "trip", run: "2", isFinished: false },
    ]);
  });

  it.each([[undefined], [null], ["text"], [5], [status(["trip"])], [status({})], [status(null)], [status("x".repeat(201))], [{}]])(
    "is nothing where the metadata is %j",
    (mark) => expect(recordedIn([cell("a", mark)])).toEqual([]),
  );

  it("has no run where the run is no text", () => {
    expect(recordedIn([cell("a", status("trip", ["1"]))])[0]?.run).toBe("");
  });
});

describe("what is offered", () => {
  const offered = (cells: CellModel[], each: Found) => offersFor(recordedIn(cells), [each]).map(({ recorded }) => recorded.cell);

  it("is the cell of the session's last run", () => {
    expect(offered([cell("a", status("trip", "1")), cell("b", status("trip", "2")), cell("c", status("other", "2"))], found("1"))).toEqual(["a"]);
  });
  it("is the last cell that attached to the session, if no cell is of the run", () => {
    expect(offered([cell("a", status("trip")), cell("b", status("trip")), cell("c", status("trip", "1"))], found("2"))).toEqual(["b"]);
  });
  it("is nothing for a session whose last run no cell shows", () => {
    expect(offered([cell("a", status("trip", "1"))], found("2"))).toEqual([]);
  });
});

it.each([
  ["waiting", false, "Still waiting for its container, in session trip"],
  ["running", false, "Still running in session trip"],
  ["running", true, "Still running in session trip"],
  ["ended", false, "Ended while you were away, in session trip"],
  ["ended", true, "Session trip can be continued"],
] as const)("a run that is %s, its end seen: %s, reads %s", (state, isFinished, words) => {
  const recorded = { cell: "a", session: "trip", run: "1", isFinished };
  expect(wordsOf({ found: found("1", state), recorded }).join("trip")).toBe(words);
});
