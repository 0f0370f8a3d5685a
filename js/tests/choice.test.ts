// What may be chosen, and the line for it. The cases of the line are the Python side's as well.

import { describe, expect, it } from "vitest";
import * as choice from "../src/choice";
import cases from "./line_cases.json";

const row = (name: string, vram: number, max = 8, more: Partial<choice.Row> = {}): choice.Row => ({
  name,
  vram,
  max,
  price: 1,
  best: "",
  architecture: "",
  bandwidth: 0,
  notes: "",
  strict: false,
  cluster: max === 8,
  ...more,
});
const A10 = row("A10", 24, 4, { cluster: false });
const H100 = row("H100", 80, 8, { strict: true });
const any = { gb: 0, each: 0 };
const of = (spec: string, nodes = 1): choice.Choice => ({ specs: choice.parseSpecs(spec), nodes, image: "torch" });
const text = (made: choice.Choice): string => choice.specsText(made.specs);

describe("the line", () => {
  it.each(cases)("$line", ({ spec, nodes, image, line }) => {
    const made = { specs: choice.parseSpecs(spec), nodes, image };
    expect(choice.lineText(made)).toBe(line);
    expect(choice.specsText(made.specs)).toBe(spec);
  });

  it("refuses what is no spec", () => {
    expect(() => choice.parseSpecs("H100:two")).toThrow("H100:two is no GPU spec");
  });
});

describe("fitting", () => {
  it("counts how many hold a model", () => {
    expect(choice.fit(H100, { gb: 200, each: 0 })).toEqual({ ok: true, count: 3 });
    expect(choice.fit(H100, { gb: 640, each: 0 })).toEqual({ ok: true, count: 8 });
    expect(choice.fit(H100, any)).toEqual({ ok: true, count: 1 });
  });

  it("says why one does not fit", () => {
    expect(choice.fit(A10, { gb: 97, each: 0 })).toEqual({ ok: false, why: "4 have 96 GB" });
    expect(choice.fit(A10, { gb: 0, each: 40 })).toEqual({ ok: false, why: "24 GB each" });
  });
});

describe("choosing", () => {
  it("keeps the count, as far as the GPU has as many", () => {
    expect(text(choice.chooseGpu(of("H100:6,L4"), A10, any))).toBe("A10:4,L4");
    expect(text(choice.chooseGpu(of("A10:2"), H100, any))).toBe("H100:2");
  });

  it("takes as many as the model needs", () => {
    expect(text(choice.chooseGpu(of("A10"), H100, { gb: 200, each: 0 }))).toBe("H100:3");
  });

  it("does not list a GPU twice, nor keep a `!` that the GPU has not", () => {
    expect(text(choice.chooseGpu(of("L4,H100"), H100, any))).toBe("H100");
    expect(text(choice.chooseGpu(of("H100!"), A10, any))).toBe("A10");
    expect(text(choice.chooseStrict(of("A10"), A10, true))).toBe("A10");
    expect(text(choice.chooseStrict(of("H100:2"), H100, true))).toBe("H100!:2");
  });

  it.each([
    [0, "A10"],
    [99, "A10:4"],
    [2.4, "A10:2"],
    [NaN, "A10"],
  ])("keeps a count of %s within the GPU's", (count, line) => {
    expect(text(choice.chooseCount(of("A10"), A10, count))).toBe(line);
  });

  it("makes whole nodes of a cluster, and none of a GPU that has none", () => {
    const rows = [H100, A10, row("L4", 24)];
    const four = choice.chooseNodes(of("H100:2,L4"), rows, 4, 32);
    expect([text(four), four.nodes]).toEqual(["H100:8,L4:8", 4]);
    expect(choice.chooseNodes(of("H100"), rows, 99, 32).nodes).toBe(32);
    expect(choice.chooseNodes(of("A10"), rows, 4, 32).nodes).toBe(1);
    expect(choice.chooseNodes(four, rows, 1, 32).nodes).toBe(1);
    expect(choice.chooseGpu(four, A10, any).nodes).toBe(1);
    expect(text(choice.chooseCount(four, H100, 2))).toBe("H100:8,L4:8");
  });
});

describe("fallbacks", () => {
  it("are added with the count that the model needs", () => {
    expect(text(choice.addFallback(of("H100:3"), row("L4", 24), { gb: 100, each: 0 }))).toBe("H100:3,L4:5");
  });

  it.each([
    [1, 1, "A,C,B"],
    [2, -1, "A,C,B"],
    [1, -1, "A,B,C"],
    [2, 1, "A,B,C"],
    [0, 1, "A,B,C"],
  ])("move: place %s by %s", (place, by, line) => {
    expect(text(choice.moveFallback(of("A,B,C"), place, by))).toBe(line);
  });

  it("are removed, but never the choice itself", () => {
    expect(text(choice.removeFallback(of("A,B,C"), 1))).toBe("A,C");
    expect(text(choice.removeFallback(of("A,B"), 0))).toBe("A,B");
  });
});
