// Readings by column: gaps stay gaps, nodes share a column, a long run forgets its beginning.

import { describe, expect, it } from "vitest";
import type { Frame, Gpu } from "../src/frame";
import { History } from "../src/history";

const gpu = (utilisation: number, more: Partial<Gpu> = {}): Gpu => ({ utilisation, used: 1, total: 2, power: 3, temperature: 4, throttled: false, ...more });
const frame = (time: number, node: number, ...loads: number[]): Frame => ({ time, node, gpus: loads.map((load) => gpu(load)) });

describe("one node", () => {
  it("has a line a GPU, with gaps where one said nothing", () => {
    const history = new History();
    history.add(frame(0, 0, 10, 20));
    history.add(frame(1, 0, NaN, 30));
    expect(history.times).toEqual([0, 1]);
    expect(history.lines("utilisation")).toEqual([
      { label: "GPU 0", node: 0, values: [10, null] },
      { label: "GPU 1", node: 0, values: [20, 30] },
    ]);
    expect(history.latest("utilisation")).toEqual([NaN, 30]);
  });

  it("keeps readings apart however fast they come", () => {
    const history = new History();
    history.add(frame(0, 0, 10));
    history.add(frame(0.1, 0, 20));
    expect(history.lines("utilisation")[0]?.values).toEqual([10, 20]);
  });

  it("takes in a GPU that appears later", () => {
    const history = new History();
    history.add(frame(0, 0, 10));
    history.add(frame(1, 0, 10, 50));
    expect(history.lines("utilisation")[1]?.values).toEqual([null, 50]);
  });

  it("forgets the oldest tenth", () => {
    const history = new History(20);
    for (let at = 0; at < 30; at += 1) history.add(frame(at, 0, at));
    expect(history.times.length).toBeLessThanOrEqual(20);
    expect(history.times.at(-1)).toBe(29);
    expect(history.lines("utilisation")[0]?.values).toEqual(history.times);
  });
});

describe("several nodes", () => {
  it("share a column, and are drawn as their mean between least and most", () => {
    const history = new History();
    history.add(frame(0, 1, 10, 30));
    history.add(frame(0.2, 0, 50, 70));
    history.add(frame(1, 0, NaN, NaN));
    expect(history.times).toEqual([0, 1]);
    expect(history.lines("utilisation")).toEqual([
      { label: "node 0", node: 0, values: [60, null], least: [50, null], most: [70, null] },
      { label: "node 1", node: 1, values: [20, null], least: [10, null], most: [30, null] },
    ]);
  });
});
