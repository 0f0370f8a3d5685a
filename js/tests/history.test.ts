// Readings by column: gaps stay gaps, nodes share a column, a long run forgets its beginning and is drawn in few points.

import { describe, expect, it } from "vitest";
import type { Frame, Gpu, Host } from "../src/frame";
import { History } from "../src/history";
import { KPIS, shownKpis } from "../src/kpis";

const gpu = (utilisation: number, more: Partial<Gpu> = {}): Gpu => ({ utilisation, used: 1, total: 2, power: 3, temperature: 4, throttled: false, ...more });
const NONE: Host = { cpu: NaN, cores: NaN, memory: NaN, memoryTotal: NaN, disk: NaN, space: NaN, spaceTotal: NaN, received: NaN, sent: NaN };
const frame = (time: number, node: number, ...loads: number[]): Frame => ({ time, node, host: NONE, gpus: loads.map((load) => gpu(load)) });

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
    [10, NaN, 30, 50, NaN, NaN, 90].forEach((load, at) => history.add({ ...frame(at, 0), gpus: [gpu(load, { used: load })] }));
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
    const early = new History(true);
    early.add(frame(-3, 0, 10));
    expect(early.drawing("utilisation").times).toEqual([0]);
  });
});

describe("a part of the time axis", () => {
  const history = new History();
  for (let at = 0; at < 100; at += 1) history.add(frame(at, 0, at));

  it("has its own points, and one more on each side", () => {
    expect(history.drawing("utilisation", 50, 10, 20).times).toEqual([9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21]);
  });

  it("is drawn in few points, too", () => {
    expect(history.drawing("utilisation", 20, 10, 90).times.length).toBeLessThanOrEqual(22);
    expect(history.end).toBe(99);
  });
});

describe("the container itself", () => {
  const host = (change: Partial<Host>): Host => ({ ...NONE, cpu: 48, cores: 16, memory: 2048, memoryTotal: 65536, ...change });
  const labels = (history: History, areSimulated = false): string[] => shownKpis(history, areSimulated).map(({ label }) => label);

  it("has lines of its own, received and sent beside each other", () => {
    const history = new History();
    history.add({ ...frame(0, 0, 10), host: host({ received: 1, sent: 2 }) });
    expect(history.drawing("cpu").lines).toEqual([{ label: "", node: 0, values: [48] }]);
    expect(history.drawing(["received", "sent"]).lines.map(({ label, values }) => [label, values])).toEqual([
      ["received", [1]],
      ["sent", [2]],
    ]);
    expect(history.drawing("utilisation").lines).toHaveLength(1);
  });

  it("takes the place of what is unknown", () => {
    const history = new History();
    history.add({ ...frame(0, 0), host: host({}), gpus: [gpu(5, { power: NaN, temperature: NaN })] });
    expect(labels(history)).toEqual(["Utilisation", "Memory", "CPU", "RAM"]);
    history.add({ ...frame(1, 0), host: host({ space: 5, received: 1, sent: 1 }), gpus: [gpu(5)] });
    expect(labels(history)).toEqual(["Utilisation", "Memory", "Power", "Temperature", "CPU", "RAM", "Disk", "Network"]);
    expect(shownKpis(history, false).find(({ label }) => label === "Disk")?.fields).toEqual(["space"]);
    history.add({ ...frame(2, 0), host: host({ disk: 7 }), gpus: [gpu(5)] });
    expect(shownKpis(history, false).find(({ label }) => label === "Disk")?.fields).toEqual(["disk"]);
  });

  it("stands for simulated GPUs, which are its copies", () => {
    const history = new History();
    history.add({ ...frame(0, 0, 48, 48), host: NONE });
    expect(labels(history, true)).toContain("Utilisation");
    history.add({ ...frame(1, 0, 48, 48), host: host({}) });
    expect(labels(history, true)).toEqual(["CPU", "RAM"]);
  });

  it.each([
    ["CPU", {}, ["48 %", "of 16 cores"]],
    ["CPU", { cores: 1 }, ["48 %", "of 1 core"]],
    ["CPU", { cores: 1.5 }, ["48 %", "of 1.5 cores"]],
    ["CPU", { cores: NaN }, ["48 %", ""]],
    ["RAM", {}, ["2.0 GiB", "of 64"]],
    ["RAM", { memoryTotal: NaN }, ["2.0 GiB", ""]],
    ["Disk", { disk: 4.2e6, space: 26624, spaceTotal: 103424 }, ["4.2 MB/s", "26 of 101 GiB"]],
    ["Disk", { disk: 42e6 }, ["42 MB/s", ""]],
    ["Network", { received: 12e6, sent: 3e5 }, ["12 MB/s", "in, 0.3 MB/s out"]],
    ["Network", { received: 3e4, sent: 10 }, ["30 kB/s", "in, 1 kB/s out"]],
    ["Network", { received: 0, sent: NaN }, ["0 MB/s", "in, – out"]],
  ])("%s of %s", (label, change, words) => {
    const history = new History();
    history.add({ ...frame(0, 0), host: host(change) });
    expect(KPIS.find((kpi) => kpi.label === label)!.words(history)).toEqual(words);
  });
});
