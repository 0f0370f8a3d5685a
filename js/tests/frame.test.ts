// Readings as they cross, and the texts of numbers; unknown is a dash, never 0.

import { describe, expect, it } from "vitest";
import { clock, decode, gpuText, mean, memoryText, shown, trouble } from "../src/frame";
import { dollars } from "../src/dom";
import { costText } from "../src/money";
import dollarsCases from "./dollars_cases.json";
import { runs, spentNow, stateText, type Strip } from "../src/strip";

const packed = (...values: number[]): DataView => {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  values.forEach((value, index) => view.setFloat32(index * 4, value, true));
  return view;
};

describe("decode", () => {
  it("reads the frames behind each other, field by field", () => {
    const host = [48, 16, 1024, 65536, 5e6, 100, 200, 1000, NaN];
    const unknown = host.map(() => NaN);
    const frames = decode(packed(1, 0, 2, ...host, 50, 60, 100, 200, 1000, 1000, 300, NaN, 40, 41, 1, NaN, 2, 3, 1, ...unknown, 9, 8, 7, 6, 5, 0));
    expect(frames).toHaveLength(2);
    expect(frames[0]).toEqual({
      time: 1,
      node: 0,
      host: { cpu: 48, cores: 16, memory: 1024, memoryTotal: 65536, disk: 5e6, space: 100, spaceTotal: 200, received: 1000, sent: NaN },
      gpus: [
        { utilisation: 50, used: 100, total: 1000, power: 300, temperature: 40, throttled: true },
        { utilisation: 60, used: 200, total: 1000, power: NaN, temperature: 41, throttled: false },
      ],
    });
    expect(frames[1]).toMatchObject({ time: 2, node: 3, host: { cpu: NaN }, gpus: [{ utilisation: 9 }] });
  });

  it.each([[[]], [[1, 0]], [[1, 0, 2, 50, 60]], [[1, 0, NaN, 4]], [[1, 0, -1, 4]]])("leaves out what is cut off: %s", (values) => {
    expect(decode(packed(...values))).toEqual([]);
  });
});

describe("numbers", () => {
  it.each([
    [NaN, "–"],
    [0, "0"],
    [99.6, "100"],
  ])("%s is shown as %s", (value, text) => expect(shown(value)).toBe(text));

  it("means what is known", () => {
    expect(mean([1, NaN, 3])).toBe(2);
    expect(mean([NaN])).toBeNaN();
  });

  it.each([
    [500, 81559, "0.5/80 GiB"],
    [30, 81559, "30 MiB/80 GiB"],
    [0.2, 81559, "<1 MiB/80 GiB"],
    [0, 81559, "0 MiB/80 GiB"],
    [10230, 81559, "10/80 GiB"],
    [20480, 81559, "20/80 GiB"],
    [NaN, NaN, ""],
    [NaN, 81559, "80 GiB"],
  ])("memory %s of %s", (used, total, text) => {
    expect(memoryText({ utilisation: 0, power: 0, temperature: 0, throttled: false, used, total })).toBe(text);
  });

  it.each([
    [0, "0:00"],
    [61.9, "1:01"],
    [3723, "1:02:03"],
    [-5, "0:00"],
  ])("%s s on the clock", (seconds, text) => expect(clock(seconds)).toBe(text));

  it.each([...(dollarsCases as [number, string][]), [null, "–"], [undefined, "–"], [NaN, "–"]])("%s dollars", (amount, text) => expect(dollars(amount)).toBe(text));
});

describe("a GPU's line", () => {
  const gpu = { utilisation: 5, used: 2048, total: 81920, power: 410.4, temperature: 64, throttled: false };
  it.each([
    [{}, "2.0/80 GiB · 410 W · 64°"],
    [{ power: NaN }, "2.0/80 GiB · 64°"],
    [{ power: NaN, temperature: NaN }, "2.0/80 GiB"],
    [{ used: NaN, total: NaN, power: NaN, temperature: NaN }, ""],
  ])("leaves out what is unknown: %s", (change, text) => expect(gpuText({ ...gpu, ...change }).replaceAll("\u00a0", " ")).toBe(text));

  it("breaks behind a dot alone", () => expect(gpuText(gpu).split(" ")).toEqual(["2.0/80\u00a0GiB\u00a0·", "410\u00a0W\u00a0·", "64°"]));
});

describe("a GPU in trouble", () => {
  it.each([
    [84, false, ""],
    [85, false, "hot"],
    [90, true, "throttled"],
    [NaN, false, ""],
  ])("at %s °C, held down %s: %s", (temperature, throttled, word) => {
    expect(trouble({ utilisation: 0, used: 0, total: 0, power: 0, temperature, throttled })).toBe(word);
  });
});

describe("the cost so far", () => {
  const cost = { backend: "cloud", cost: 1, hourly: 3600, before: 0, now: 100 };

  it("runs up while a container is there", () => {
    expect(costText(cost, 101.5)).toBe("$2.50");
    expect(costText({ ...cost, hourly: 0 }, 200)).toBe("$1.00");
    expect(costText({ ...cost, cost: null }, 200)).toBe("–");
  });

  it("has the idle time before it, and is not paid here", () => {
    expect(costText({ ...cost, before: 5 }, 100)).toBe("$1.00 · session $6.00 with idle");
    expect(costText({ ...cost, before: null, backend: "local" }, 100)).toBe("free (≈ $1.00 on Modal)");
    expect(costText({ ...cost, cost: 0.001, hourly: 0, before: null, backend: "local" }, 100)).toBe("free (<$0.01 on Modal)");
    expect(costText({ ...cost, cost: null, before: null, backend: "local" }, 100)).toBe("free (– on Modal)");
  });
});

describe("the strip", () => {
  const strip: Strip = {
    session: "default",
    title: "H100",
    got: "",
    backend: "cloud",
    simulated: false,
    price: "$3.60/h",
    rate: 3.6,
    spent: 1,
    state: "running",
    since: 100,
    idle_until: null,
    outcome: "",
    now: 160,
    background: false,
  };

  it("says how long, and until when", () => {
    expect(stateText(strip, 165)).toBe("running 1:05");
    expect(stateText({ ...strip, state: "idle", idle_until: 425 }, 165)).toBe("idle, ends in 4:20");
    expect(stateText({ ...strip, state: "idle", idle_until: 160 }, 165)).toBe("ended");
    expect(stateText({ ...strip, state: "ended" }, 165)).toBe("ended");
    expect(stateText({ ...strip, state: "new" }, 165)).toBe("nothing has run yet");
    expect(stateText({ ...strip, state: "waiting" }, 165)).toBe("waiting for GPU 1:05");
    expect(stateText({ ...strip, state: "building" }, 100 + 3725)).toBe("building image 1:02:05");
  });

  it.each(["connecting", "building", "sending", "waiting", "starting", "running", "restarted", "stopping", "copying"])(
    "has a cell to stop while it is %s",
    (state) => expect(runs({ ...strip, state })).toBe(true),
  );

  it("has none to stop when it is idle, ended or not there", () => {
    expect([{ ...strip, state: "idle" }, { ...strip, state: "ended" }, { ...strip, state: "new" }, null].map(runs)).toEqual([false, false, false, false]);
  });

  it.each([
    ["done", ""],
    ["failed", ", the last cell failed"],
    ["stopped", ", the last cell was stopped"],
    ["lost", ", the last cell lost its container"],
  ])("says of a cell that ended %s%s", (outcome, words) => {
    expect(stateText({ ...strip, state: "idle", idle_until: 425, outcome }, 165)).toBe(`idle, ends in 4:20${words}`);
    expect(stateText({ ...strip, state: "ended", outcome }, 165)).toBe(`ended${words}`);
  });

  it("counts what runs up, and knows what it does not know", () => {
    expect(spentNow(strip, 170)).toBeCloseTo(1.01);
    expect(spentNow({ ...strip, state: "ended", rate: 0 }, 9999)).toBe(1);
    expect(spentNow({ ...strip, state: "idle", idle_until: 170 }, 9999)).toBeCloseTo(1.01);
    expect(spentNow({ ...strip, rate: null }, 170)).toBeNull();
  });
});
