// The figures above the chart, each of which charts its measure: of the GPUs, and of the container itself. Pure.

import type { Measure } from "./chart";
import { gib, mean, memory, shown, valueText } from "./frame";
import type { History } from "./history";

/** A figure: its measure, and its number and note now. `ofGpu`: of the GPUs, not of the container itself. */
export interface Kpi extends Measure {
  ofGpu: boolean;
  words: (history: History) => [number: string, note: string];
}

const GIB = 1 / 1024;
const MB = 1e-6;

const known = (values: readonly number[]): number[] => values.filter((value) => !Number.isNaN(value));
const sum = (values: readonly number[]): number => (known(values).length ? known(values).reduce((a, b) => a + b, 0) : NaN);
const most = (values: readonly number[]): number => (known(values).length ? Math.max(...known(values)) : NaN);
const ofSize = (mib: number): string => (Number.isNaN(mib) ? "" : `of ${gib(mib)}`);
const size = (mib: number): string => (Number.isNaN(mib) ? "–" : memory(mib));
/** `4.2 MB/s`, `30 kB/s`: a small rate is not 0.0 MB/s. */
const rate = (bytes: number): string => {
  if (Number.isNaN(bytes)) return "–";
  if (bytes > 0 && bytes < 5e4) return `${shown(Math.max(1, bytes / 1e3))} kB/s`;
  return `${shown(bytes * MB, bytes > 0 && bytes < 1e7 ? 1 : 0)} MB/s`;
};
const orDash = (value: number, unit: string): string => valueText(value, unit) || "–";

const DISK_SPACE: Kpi = {
  label: "Disk",
  ofGpu: false,
  fields: ["space"],
  unit: "GiB",
  scale: GIB,
  top: null,
  words: (history) => [size(sum(history.latestOfNodes("space"))), ofSize(sum(history.latestOfNodes("spaceTotal")))],
};

export const KPIS: readonly Kpi[] = [
  {
    label: "Utilisation",
    ofGpu: true,
    fields: ["utilisation"],
    unit: "%",
    scale: 1,
    top: 100,
    words: (history) => [orDash(mean(history.latest("utilisation")), " %"), history.latest("utilisation").length > 1 ? "mean" : ""],
  },
  {
    label: "Memory",
    ofGpu: true,
    fields: ["used"],
    unit: "GiB",
    scale: GIB,
    top: null,
    words: (history) => [size(sum(history.latest("used"))), ofSize(sum(history.latest("total")))],
  },
  {
    label: "Power",
    ofGpu: true,
    fields: ["power"],
    unit: "W",
    scale: 1,
    top: null,
    words: (history) => [orDash(sum(history.latest("power")), " W"), history.latest("power").length > 1 ? "in all" : ""],
  },
  {
    label: "Temperature",
    ofGpu: true,
    fields: ["temperature"],
    unit: "°C",
    scale: 1,
    top: 100,
    words: (history) => [orDash(most(history.latest("temperature")), " °C"), history.latest("temperature").length > 1 ? "hottest" : ""],
  },
  {
    label: "CPU",
    ofGpu: false,
    fields: ["cpu"],
    unit: "%",
    scale: 1,
    top: 100,
    words: (history) => {
      const cores = sum(history.latestOfNodes("cores"));
      return [orDash(mean(history.latestOfNodes("cpu")), " %"), Number.isNaN(cores) ? "" : `of ${shown(cores, cores % 1 ? 1 : 0)} ${cores === 1 ? "core" : "cores"}`];
    },
  },
  {
    label: "RAM",
    ofGpu: false,
    fields: ["memory"],
    unit: "GiB",
    scale: GIB,
    top: null,
    words: (history) => [size(sum(history.latestOfNodes("memory"))), ofSize(sum(history.latestOfNodes("memoryTotal")))],
  },
  {
    label: "Disk",
    ofGpu: false,
    fields: ["disk"],
    unit: "MB/s",
    scale: MB,
    top: null,
    words: (history) => {
      const [used, total] = [sum(history.latestOfNodes("space")), sum(history.latestOfNodes("spaceTotal"))];
      return [rate(sum(history.latestOfNodes("disk"))), Number.isNaN(used) ? "" : `${gib(used)}${Number.isNaN(total) ? "" : ` of ${gib(total)}`} GiB`];
    },
  },
  DISK_SPACE,
  {
    label: "Network",
    ofGpu: false,
    fields: ["received", "sent"],
    unit: "MB/s",
    scale: MB,
    top: null,
    words: (history) => [rate(sum(history.latestOfNodes("received"))), `in, ${rate(sum(history.latestOfNodes("sent")))} out`],
  },
];

/**
 * The figures to show: those of which a value has been known. The disk's space stands alone only where its traffic is
 * unknown. Simulated GPUs are the container's own CPU and memory, which are shown instead.
 */
export function shownKpis(history: History, areSimulated: boolean): Kpi[] {
  const isCopy = areSimulated && history.knows("cpu");
  return KPIS.filter((kpi) => kpi.fields.some((field) => history.knows(field)) && !(kpi.ofGpu && isCopy) && !(kpi === DISK_SPACE && history.knows("disk")));
}
