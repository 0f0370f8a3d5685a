// What may be chosen, and the line for it. The cases of the line are the Python side's as well.

import { describe, expect, it } from "vitest";
import * as choice from "../src/choice";
import { fit, price, ranked, shortfall, totalText, type Entry, type Need, type Price, type Row } from "../src/offers";
import { lineText, parseSpecs, specsText, type Choice } from "../src/spec";
import cases from "./line_cases.json";

/** A GPU whose prices are `$1/h` for each of its GPUs times `dear`. */
const row = (name: string, vram: number, max = 8, more: Partial<Row> = {}, dear = 1): Row => {
  const cost = (gpus: number): Price => [`$${gpus * dear}/h`, `$${2 * gpus * dear}/h`, `$${3 * gpus * dear}/h`, gpus * dear * 100];
  return {
    name,
    vram,
    max,
    best: "",
    strict: false,
    cluster: max === 8,
    facts: [],
    prices: Array.from({ length: max }, (_, index) => cost(index + 1)),
    cluster_prices: max === 8 ? Array.from({ length: 31 }, (_, index) => cost((index + 2) * max)) : [],
    ...more,
  };
};
const A10 = row("A10", 24, 4, { cluster: false });
const L4 = row("L4", 24, 8, {}, 0.5);
const H100 = row("H100", 80, 8, { strict: true }, 4);
const ROWS = [H100, A10, L4];
const NAMES: readonly Entry[] = ROWS.map(({ name }) => [name, 1, 1, 1, ""]);
const any: Need = { model: "", gb: "", each: 0, entries: NAMES };
/** A model: what each GPU needs, in the order in which Python would name them. */
const model = (...entries: Entry[]): Need => ({ model: "70B", gb: "168 GB", each: 0, entries });
const BIG = model(["H100", 3, 1, 3, "the reference's"], ["L4", 7, 1, 7, "168 GB"], ["A10", 4, 0, 7, "too small: 4 have 96 GB"]);
const HUGE = model(["H100", 8, 2, 13, "1,280 GB on 2 nodes"], ["A10", 4, 0, 41, "too small: 4 have 96 GB"], ["L4", 8, 0, 41, "too small: 8 have 192 GB"]);
const of = (spec: string, nodes = 1, region = ""): Choice => ({ specs: parseSpecs(spec), nodes, image: "torch", region });
const text = (made: Choice): string => lineText(made);

describe("the line", () => {
  it.each(cases)("$line", ({ spec, nodes, image, region, inherited, inherited_region, line }) => {
    const made = { specs: parseSpecs(spec), nodes, image, region };
    expect(lineText(made, inherited, inherited_region)).toBe(line);
    expect(specsText(made.specs)).toBe(spec);
  });

  it("refuses what is no spec", () => {
    expect(() => parseSpecs("H100:two")).toThrow("H100:two is no GPU spec");
  });
});

describe("fitting", () => {
  it("counts how many hold a model, and the nodes where one is too small", () => {
    expect(fit(H100, BIG)).toEqual({ ok: true, count: 3, nodes: 1, reason: "the reference's" });
    expect(fit(H100, HUGE)).toEqual({ ok: true, count: 8, nodes: 2, reason: "1,280 GB on 2 nodes" });
    expect(fit(H100, any)).toEqual({ ok: true, count: 1, nodes: 1, reason: "" });
  });

  it("says why one does not fit", () => {
    expect(fit(A10, BIG)).toEqual({ ok: false, why: "too small: 4 have 96 GB" });
    expect(fit(A10, { ...any, each: 40 })).toEqual({ ok: false, why: "too small: 24 GB each" });
  });

  it("keeps Python's order, those that do not fit last, and gives each badge once", () => {
    const shown = (need: Need) => ranked(ROWS, need).map(({ row, badges }) => [row.name, ...badges].join(" "));
    expect(shown(any)).toEqual(["H100", "A10", "L4"]);
    expect(shown(BIG)).toEqual(["H100 recommended", "L4 cheapest that fits", "A10"]);
    expect(shown(HUGE)).toEqual(["H100 recommended cheapest that fits", "A10", "L4"]);
    expect(shown({ ...any, each: 40 })).toEqual(["H100 cheapest that fits", "A10", "L4"]);
    expect(shown({ ...BIG, each: 40 })).toEqual(["H100 recommended cheapest that fits", "L4", "A10"]);
  });

  it.each([
    ["H100:3", 1, BIG, ""],
    ["H100:8", 1, any, ""],
    ["H100:2", 1, BIG, "H100:2 has 160 GB, and 70B needs 168 GB."],
    ["H100:3,L4:2", 1, BIG, "Fallback L4:2 has 48 GB, and 70B needs 168 GB."],
    ["H100:8", 1, HUGE, "H100:8 has 640 GB, and 70B needs 168 GB."],
    ["H100:8", 2, HUGE, ""],
    ["L4", 1, { ...any, each: 40 }, "L4 has 24 GB per GPU, less than the minimum of 40 GB."],
  ])("of %s on %s nodes is judged, fallbacks as well", (spec, nodes, need, why) => {
    expect(shortfall(of(spec, nodes), ROWS, need)).toBe(why);
  });
});

describe("prices", () => {
  it.each([
    ["H100:2", 1, "", "$8/h"],
    ["H100:8", 2, "", "$64/h"],
    ["L4:2,H100:2,A10", 1, "", "$1/h, up to $8/h"],
    ["H100,L4:2", 1, "", "$4/h"],
    ["H100", 1, "eu", "$8/h"],
    ["H100", 1, "us-west", "$12/h"],
    ["L4:2,H100:2", 1, "us", "$2/h, up to $16/h"],
    ["", 1, "", ""],
    ["R100", 1, "", ""],
  ])("of %s on %s nodes %s are Python's texts", (spec, nodes, region, total) => {
    expect(totalText(of(spec, nodes, region), ROWS)).toBe(total);
  });

  it("are unknown for what Modal has not", () => {
    expect(price(A10, 9)[0]).toBe("–");
  });
});

describe("choosing", () => {
  it("keeps the count, as far as the GPU has as many", () => {
    expect(text(choice.chooseGpu(of("H100:6,L4"), ROWS, A10, any))).toBe("A10:4 L4");
    expect(text(choice.chooseGpu(of("A10:2"), ROWS, H100, any))).toBe("H100:2");
  });

  it("takes as many as the model needs, no more and no fewer, and nodes where one is too small", () => {
    expect(text(choice.chooseGpu(of("A10"), ROWS, H100, BIG))).toBe("H100:3");
    expect(text(choice.chooseGpu(of("H100:8"), ROWS, L4, BIG))).toBe("L4:7");
    expect(text(choice.chooseGpu(of("A10"), ROWS, H100, HUGE))).toBe("H100:8 --nodes 2 --torchrun");
    expect(text(choice.chooseGpu(of("H100:8", 2), ROWS, L4, BIG))).toBe("L4:7");
  });

  it("sets the count when a model is chosen, of fallbacks as well", () => {
    expect(text(choice.hold(of("H100:8,L4"), ROWS, BIG))).toBe("H100:3 L4:7");
    expect(text(choice.hold(of("H100!"), ROWS, BIG))).toBe("H100!:3");
    expect(text(choice.hold(of("H100,L4,A10"), ROWS, HUGE))).toBe("H100:8 L4:8 --nodes 2 --torchrun");
    expect(text(choice.hold(of("A10:2,H100"), ROWS, BIG))).toBe("A10:2 H100");
    expect(text(choice.hold(of("H100:2,L4"), ROWS, any))).toBe("H100:2 L4");
    expect(text(choice.hold(of(""), ROWS, BIG))).toBe("");
  });

  it("does not list a GPU twice, nor keep a `!` that the GPU has not", () => {
    expect(text(choice.chooseGpu(of("L4,H100"), ROWS, H100, any))).toBe("H100");
    expect(text(choice.chooseGpu(of("H100!"), ROWS, A10, any))).toBe("A10");
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
    const four = choice.chooseNodes(of("H100:2,L4"), ROWS, 4, 32);
    expect(text(four)).toBe("H100:8 L4:8 --nodes 4 --torchrun");
    expect(choice.chooseNodes(of("H100"), ROWS, 99, 32).nodes).toBe(32);
    expect(choice.chooseNodes(of("A10"), ROWS, 4, 32).nodes).toBe(1);
    expect(choice.chooseNodes(four, ROWS, 1, 32).nodes).toBe(1);
    expect(choice.chooseGpu(four, ROWS, A10, any).nodes).toBe(1);
    expect(text(choice.chooseCount(four, H100, 2))).toBe("H100:8 L4:8 --nodes 4 --torchrun");
  });
});

describe("fallbacks", () => {
  it.each([
    ["H100:3", L4, any, "H100:3 L4:3"],
    ["H100:8", A10, any, "H100:8 A10:4"],
    ["H100:3", L4, BIG, "H100:3 L4:7"],
    ["H100:3", A10, BIG, "H100:3 A10:3"],
  ])("of %s inherit the count up to their most, or have what the model needs", (spec, added, need, line) => {
    expect(text(choice.addFallback(of(spec), added, need))).toBe(line);
  });

  it("are whole nodes in a cluster", () => {
    expect(text(choice.addFallback(of("H100:8", 2), L4, any))).toBe("H100:8 L4:8 --nodes 2 --torchrun");
  });

  it.each([
    [2, "H100:8 A10:2"],
    [9, "H100:8 A10:4"],
    [0, "H100:8 A10"],
  ])("have a count of their own: %s", (count, line) => {
    expect(text(choice.countFallback(of("H100:8,A10:3"), A10, 1, count))).toBe(line);
  });

  it.each([
    [1, 1, "A C B"],
    [2, -1, "A C B"],
    [1, -1, "A B C"],
    [2, 1, "A B C"],
    [0, 1, "A B C"],
  ])("move: place %s by %s", (place, by, line) => {
    expect(text(choice.moveFallback(of("A,B,C"), place, by))).toBe(line);
  });

  it("are removed, but never the choice itself", () => {
    expect(text(choice.removeFallback(of("A,B,C"), 1))).toBe("A C");
    expect(text(choice.removeFallback(of("A,B"), 0))).toBe("A B");
  });
});
