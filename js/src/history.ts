// The readings of a run in columns, the format of the chart. Pure.

import { mean, type Frame, type Gpu } from "./frame";

export type Field = "utilisation" | "used" | "power" | "temperature";

type Values = (number | null)[];
type Reduce = (known: readonly number[]) => number;

/** The points of a line, and for several GPUs the band from minimum to maximum. */
export interface Line {
  label: string;
  node: number;
  values: Values;
  least?: Values;
  most?: Values;
}

export interface Drawing {
  times: number[];
  lines: Line[];
}

/** Values of a GPU, or of a node, aligned with the history's times; null without a reading. */
interface Row {
  label: string;
  node: number;
  index: number;
  parts: Record<Field, Values[]>;
}

const FIELDS: readonly Field[] = ["utilisation", "used", "power", "temperature"];

const least: Reduce = (known) => Math.min(...known);
const most: Reduce = (known) => Math.max(...known);

/** Data of a node's line: the values, and the band around them. */
const PARTS: readonly Reduce[] = [mean, least, most];

/** Readings of different nodes within this time, in seconds, share a column. */
const TOGETHER = 0.5;

export class History {
  private readonly times: number[] = [];
  private readonly rows: Row[] = [];
  private readonly newest = new Map<number, { gpus: readonly Gpu[]; column: number }>();
  private forgotten = 0;

  /** `byNode`: one line per node instead of per GPU. `capacity`: most columns; beyond, the oldest tenth is dropped. */
  constructor(
    private readonly byNode = false,
    private readonly capacity = 2400,
  ) {}

  /** Remove all readings. */
  clear(): void {
    this.times.length = this.rows.length = this.forgotten = 0;
    this.newest.clear();
  }

  add(frame: Frame): void {
    const column = this.column(frame);
    this.newest.set(frame.node, { gpus: frame.gpus, column: this.forgotten + column });
    const groups = this.byNode ? [frame.gpus] : frame.gpus.map((gpu) => [gpu]);
    groups.forEach((gpus, index) => {
      const { parts } = this.row(frame.node, index);
      for (const field of FIELDS) {
        const known = gpus.map((gpu) => gpu[field]).filter((value) => !Number.isNaN(value));
        parts[field].forEach((values, part) => (values[column] = known.length ? PARTS[part]!(known) : null));
      }
    });
  }

  /** The latest value of a field of every GPU, in order of node and index; NaN if unknown. */
  latest(field: Exclude<keyof Gpu, "throttled">): number[] {
    return [...this.newest].sort(([a], [b]) => a - b).flatMap(([, { gpus }]) => gpus.map((gpu) => gpu[field]));
  }

  /**
   * The lines of a field in about `points` points: readings that would share a pixel become one, at the time of the
   * last. The point is the mean, or for a single GPU's memory the maximum, because the peak decides whether a run fails.
   */
  drawing(field: Field, points = Infinity): Drawing {
    const spans = this.spans(points);
    const lines = this.rows.map(({ label, node, parts }): Line => {
      const [first, ...band] = parts[field].map((values, part) => {
        const reduce = field === "used" && !this.byNode ? most : PARTS[part]!;
        return spans.map(([from, to]) => over(values, from, to, reduce));
      });
      return { label, node, values: first!, ...(band.length ? { least: band[0]!, most: band[1]! } : {}) };
    });
    return { times: spans.map(([, to]) => this.times[to - 1]!), lines };
  }

  /** Return which columns share a point, counted from the first reading ever, so that drawn points do not change. */
  private spans(points: number): [number, number][] {
    const step = 2 ** Math.ceil(Math.log2(Math.max(1, this.times.length / points)));
    const spans: [number, number][] = [];
    for (let from = 0; from < this.times.length; ) {
      const to = Math.min(this.times.length, from + step - ((this.forgotten + from) % step));
      spans.push([from, to]);
      from = to;
    }
    return spans;
  }

  private column(frame: Frame): number {
    const last = this.times.length - 1;
    const time = this.times[last];
    const isNew = this.newest.get(frame.node)?.column !== this.forgotten + last;
    if (time !== undefined && isNew && frame.time - time < TOGETHER) return last;
    this.times.push(Math.max(frame.time, time ?? frame.time)); // the nodes' clocks differ
    for (const values of this.columns()) values.push(null);
    if (this.times.length > this.capacity) this.forget(Math.ceil(this.capacity / 10));
    return this.times.length - 1;
  }

  private row(node: number, index: number): Row {
    const found = this.rows.find((row) => row.node === node && row.index === index);
    if (found) return found;
    const empty = (): Values[] => (this.byNode ? PARTS : PARTS.slice(0, 1)).map(() => this.times.map(() => null));
    const parts = { utilisation: empty(), used: empty(), power: empty(), temperature: empty() };
    const row = { label: this.byNode ? `node ${node}` : `GPU ${index}`, node, index, parts };
    this.rows.push(row);
    this.rows.sort((a, b) => a.node - b.node || a.index - b.index);
    return row;
  }

  private forget(columns: number): void {
    this.forgotten += columns;
    this.times.splice(0, columns);
    for (const values of this.columns()) values.splice(0, columns);
  }

  private columns(): Values[] {
    return this.rows.flatMap((row) => FIELDS.flatMap((field) => row.parts[field]));
  }
}

/** Reduce the known values of a span; null without any. */
function over(values: Values, from: number, to: number, reduce: Reduce): number | null {
  if (to - from === 1) return values[from] ?? null;
  const known = values.slice(from, to).filter((value) => value !== null);
  return known.length ? reduce(known) : null;
}
