// Readings by column: gaps stay gaps, nodes share a column, a long run forgets its beginning and is drawn in few points.

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
    expect(history.drawing("utilisation")).toEqual({
      times: [0, 1],
      lines: [
        { label: "GPU 0", node: 0, values: [10, null] },
        { label: "GPU 1", node: 0, values: [20, 30] },
      ],
    });
    expect(history.latest("utilisation")).toEqual([NaN, 30]);
  });

  it("keeps readings apart however fast they come", () => {
    const history = new History();
    history.add(frame(0, 0, NaN));
    history.add(frame(0.1, 0, 20));
    expect(history.drawing("utilisation").lines[0]?.values).toEqual([null, 20]);
  });

  it("takes in a GPU that appears later", () => {
    const history = new History();
    history.add(frame(0, 0, 10));
    history.add(frame(1, 0, 10, 50));
    expect(history.drawing("utilisation").lines[1]?.values).toEqual([null, 50]);
  });

  it("begins anew", () => {
    const history = new History();
    history.add(frame(5, 0, 10, 20));
    history.clear();
    history.add(frame(0, 0, 30));
    expect(history.drawing("utilisation")).toEqual({ times: [0], lines: [{ label: "GPU 0", node: 0, values: [30] }] });
    expect(history.latest("utilisation")).toEqual([30]);
  });

  it("forgets the oldest tenth", () => {
    const history = new History(false, 20);
    for (let at = 0; at < 30; at += 1) history.add(frame(at, 0, at));
    const { times, lines } = history.drawing("utilisation");
    expect(times.length).toBeLessThanOrEqual(20);
    expect(times.at(-1)).toBe(29);
    expect(lines[0]?.values).toEqual(times);
  });
});

describe("few points", () => {
  it("are means, and of memory the most; what is unknown does not count", () => {
    const history = new History();
    [10, NaN, 30, 50, NaN, NaN, 90].forEach((load, at) => history.add({ time: at, node: 0, gpus: [gpu(load, { used: load })] }));
    expect(history.drawing("utilisation", 4)).toEqual({
      times: [1, 3, 5, 6],
      lines: [{ label: "GPU 0", node: 0, values: [10, 40, null, 90] }],
    });
    expect(history.drawing("used", 4).lines[0]?.values).toEqual([10, 50, null, 90]);
  });

  it("stay where they are while others come and go", () => {
    const history = new History(false, 50);
    const seen = new Map<number, number | null>();
    for (let at = 0; at < 200; at += 1) {
      history.add(frame(at, 0, at % 7));
      const { times, lines } = history.drawing("utilisation", 8);
      expect(times.length).toBeLessThanOrEqual(9);
      if (at < 50) continue; // until it is full, points are of ever more readings
      const whole = times.map((time, place) => [time, lines[0]!.values[place]!] as const).slice(1, -1);
      for (const [time, value] of whole) {
        expect(value).toBe(seen.get(time) ?? value);
        seen.set(time, value);
      }
    }
    expect(seen.size).toBeLessThan(200 / 7);
  });
});

describe("several nodes", () => {
  it("share a column, and are drawn as their mean between least and most", () => {
    const history = new History(true);
    history.add(frame(0, 1, 10, 30));
    history.add(frame(0.2, 0, 50, 70));
    history.add(frame(1, 0, NaN, NaN));
    expect(history.drawing("utilisation")).toEqual({
      times: [0, 1],
      lines: [
        { label: "node 0", node: 0, values: [60, null], least: [50, null], most: [70, null] },
        { label: "node 1", node: 1, values: [20, null], least: [10, null], most: [30, null] },
      ],
    });
    expect(history.drawing("utilisation", 1).lines[1]).toEqual({ label: "node 1", node: 1, values: [20], least: [10], most: [30] });
  });

  it("all count in what is newest, also the one that has said nothing in this column yet", () => {
    const history = new History(true);
    history.add(frame(0, 0, 10, 20));
    history.add(frame(0, 1, 30, 40));
    history.add(frame(1, 0, 50, 60));
    expect(history.latest("utilisation")).toEqual([50, 60, 30, 40]);
  });

  it("have times that only grow, however their clocks differ", () => {
    const history = new History(true);
    history.add(frame(5, 0, 10));
    history.add(frame(2, 1, 20));
    history.add(frame(3, 1, 20));
    expect(history.drawing("utilisation").times).toEqual([5, 5]);
  });
});
