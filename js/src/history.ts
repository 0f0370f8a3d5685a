// The readings of a run, column by column as a chart wants them. Pure.

import { mean, type Frame, type Gpu } from "./frame";

export type Field = keyof Gpu;

/** One GPU's values, aligned with the history's times; null where it said nothing. */
type Row = Record<Field, (number | null)[]>;

/** What is drawn: a line, and where it stands for several GPUs the least and the most of them. */
export interface Line {
  label: string;
  node: number;
  values: (number | null)[];
  least?: (number | null)[];
  most?: (number | null)[];
}

const FIELDS: readonly Field[] = ["utilisation", "used", "total", "power", "temperature"];

/** Readings of different nodes within so many seconds are one column. */
const TOGETHER = 0.5;

export class History {
  readonly times: number[] = [];
  private readonly rows = new Map<string, { node: number; index: number; row: Row }>();

  /** `capacity`: columns kept; when it is reached the oldest tenth goes. */
  constructor(private readonly capacity = 2400) {}

  /** The GPUs seen, in order of node and index. */
  get gpus(): { node: number; index: number }[] {
    return [...this.rows.values()].map(({ node, index }) => ({ node, index })).sort((a, b) => a.node - b.node || a.index - b.index);
  }

  get nodes(): number[] {
    return [...new Set(this.gpus.map((gpu) => gpu.node))];
  }

  /** Forget every reading. */
  clear(): void {
    this.times.length = 0;
    this.rows.clear();
  }

  add(frame: Frame): void {
    const column = this.column(frame);
    frame.gpus.forEach((gpu, index) => {
      const row = this.row(frame.node, index);
      for (const field of FIELDS) row[field][column] = Number.isNaN(gpu[field]) ? null : gpu[field];
    });
  }

  /** The newest known reading of a field of every GPU; NaN where there is none. */
  latest(field: Field): number[] {
    return this.gpus.map(({ node, index }) => this.row(node, index)[field].at(-1) ?? NaN);
  }

  /** A line a GPU; with several nodes a line a node, its mean, between the least and the most of its GPUs. */
  lines(field: Field): Line[] {
    const nodes = this.nodes;
    if (nodes.length <= 1) {
      return this.gpus.map(({ node, index }) => ({ label: `GPU ${index}`, node, values: this.row(node, index)[field] }));
    }
    return nodes.map((node) => {
      const rows = this.gpus.filter((gpu) => gpu.node === node).map((gpu) => this.row(node, gpu.index)[field]);
      const known = this.times.map((_, at) => rows.map((row) => row[at]).filter((value): value is number => value != null));
      const each = (reduce: (values: number[]) => number): (number | null)[] => known.map((values) => (values.length ? reduce(values) : null));
      return {
        label: `node ${node}`,
        node,
        values: each(mean),
        least: each((values) => Math.min(...values)),
        most: each((values) => Math.max(...values)),
      };
    });
  }

  private column(frame: Frame): number {
    const last = this.times.length - 1;
    const time = this.times[last];
    if (time !== undefined && frame.time - time < TOGETHER && !this.filled(frame.node, last)) return last;
    this.times.push(frame.time);
    for (const { row } of this.rows.values()) for (const field of FIELDS) row[field].push(null);
    if (this.times.length > this.capacity) this.forget(Math.ceil(this.capacity / 10));
    return this.times.length - 1;
  }

  private filled(node: number, column: number): boolean {
    const row = this.rows.get(key(node, 0))?.row;
    return row !== undefined && FIELDS.some((field) => row[field][column] !== null);
  }

  private row(node: number, index: number): Row {
    const found = this.rows.get(key(node, index));
    if (found) return found.row;
    const empty = (): (number | null)[] => this.times.map(() => null);
    const row: Row = { utilisation: empty(), used: empty(), total: empty(), power: empty(), temperature: empty() };
    this.rows.set(key(node, index), { node, index, row });
    return row;
  }

  private forget(columns: number): void {
    this.times.splice(0, columns);
    for (const { row } of this.rows.values()) for (const field of FIELDS) row[field].splice(0, columns);
  }
}

function key(node: number, index: number): string {
  return `${node}.${index}`;
}
