// The readings of a run in columns, the format of the chart. Pure.

import { mean, type Frame, type Gpu, type Host } from "./frame";

export type GpuField = "utilisation" | "used" | "power" | "temperature";
export type HostField = "cpu" | "memory" | "disk" | "space" | "received" | "sent";
export type Field = GpuField | HostField;

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

/** Values of a GPU, of a node's GPUs, or of a node itself (index -1), aligned with the times; null without a reading. */
interface Row {
  label: string;
  node: number;
  index: number;
  parts: Partial<Record<Field, Values[]>>;
}

const GPU_FIELDS: readonly GpuField[] = ["utilisation", "used", "power", "temperature"];
const HOST_FIELDS: readonly HostField[] = ["cpu", "memory", "disk", "space", "received", "sent"];
const ITSELF = -1;

const least: Reduce = (known) => Math.min(...known);
const most: Reduce = (known) => Math.max(...known);

/** Data of a node's line: the values, and the band around them. */
const PARTS: readonly Reduce[] = [mean, least, most];

/** Fields whose peak is drawn where readings share a point, because the peak decides whether a run fails. */
const PEAKS: ReadonlySet<Field> = new Set(["used", "memory", "space"]);

/** Names of lines of which a chart has several per node. */
const LABELS: Partial<Record<Field, string>> = { received: "received", sent: "sent" };

/** Readings of different nodes within this time, in seconds, share a column. */
const TOGETHER = 0.5;

export class History {
  private readonly times: number[] = [];
  private readonly rows: Row[] = [];
  private readonly newest = new Map<number, { gpus: readonly Gpu[]; host: Host; column: number }>();
  private readonly seen = new Set<Field>();
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
    this.seen.clear();
  }

  add(frame: Frame): void {
    const column = this.column(frame);
    this.newest.set(frame.node, { gpus: frame.gpus, host: frame.host, column: this.forgotten + column });
    const groups = this.byNode ? [frame.gpus] : frame.gpus.map((gpu) => [gpu]);
    groups.forEach((gpus, index) => {
      const { parts } = this.row(frame.node, index);
      for (const field of GPU_FIELDS) this.put(parts, field, column, gpus.map((gpu) => gpu[field]));
    });
    const { parts } = this.row(frame.node, ITSELF);
    for (const field of HOST_FIELDS) this.put(parts, field, column, [frame.host[field]]);
  }

  /** The time of the newest reading; 0 without any. */
  get end(): number {
    return this.times.at(-1) ?? 0;
  }

  /** Whether a value of the field has ever been known. */
  knows(field: Field): boolean {
    return this.seen.has(field);
  }

  /** The latest value of a field of every GPU, in order of node and index; NaN if unknown. */
  latest(field: Exclude<keyof Gpu, "throttled">): number[] {
    return this.ordered().flatMap(({ gpus }) => gpus.map((gpu) => gpu[field]));
  }

  /** The latest value of a field of every node; NaN if unknown. */
  latestOfNodes(field: keyof Host): number[] {
    return this.ordered().map(({ host }) => host[field]);
  }

  /**
   * The lines of some fields in about `points` points between the times `from` and `to`: readings that would share a
   * pixel become one, at the time of the last. The point is the mean, or of memory the maximum.
   */
  drawing(fields: Field | readonly Field[], points = Infinity, from = -Infinity, to = Infinity): Drawing {
    const spans = this.spans(points, from, to);
    const list = typeof fields === "string" ? [fields] : fields;
    const lines = this.rows.flatMap((row) => list.flatMap((field) => this.line(row, field, spans)));
    return { times: spans.map(([, end]) => this.times[end - 1]!), lines };
  }

  private line({ label, node, parts }: Row, field: Field, spans: [number, number][]): Line[] {
    const columns = parts[field];
    if (!columns) return [];
    const [first, ...band] = columns.map((values, part) => {
      const reduce = PEAKS.has(field) && columns.length === 1 ? most : PARTS[part]!;
      return spans.map(([start, end]) => over(values, start, end, reduce));
    });
    const words = [label, LABELS[field]].filter((word) => word).join(" ");
    return [{ label: words, node, values: first!, ...(band.length ? { least: band[0]!, most: band[1]! } : {}) }];
  }

  private ordered(): { gpus: readonly Gpu[]; host: Host }[] {
    return [...this.newest].sort(([a], [b]) => a - b).map(([, reading]) => reading);
  }

  private put(parts: Row["parts"], field: Field, column: number, values: readonly number[]): void {
    const known = values.filter((value) => !Number.isNaN(value));
    if (known.length) this.seen.add(field);
    parts[field]!.forEach((list, part) => (list[column] = known.length ? PARTS[part]!(known) : null));
  }

  /** Return which columns share a point, counted from the first reading ever, so that drawn points do not change. */
  private spans(points: number, after: number, before: number): [number, number][] {
    const start = Math.max(0, this.times.findIndex((time) => time >= after) - 1);
    const later = this.times.findIndex((time) => time > before);
    const end = later < 0 ? this.times.length : later + 1;
    const step = 2 ** Math.ceil(Math.log2(Math.max(1, (end - start) / points)));
    const spans: [number, number][] = [];
    for (let from = start; from < end; ) {
      const to = Math.min(end, from + step - ((this.forgotten + from) % step));
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
    this.times.push(Math.max(frame.time, time ?? 0)); // the nodes' clocks differ
    for (const values of this.columns()) values.push(null);
    if (this.times.length > this.capacity) this.forget(Math.ceil(this.capacity / 10));
    return this.times.length - 1;
  }

  private row(node: number, index: number): Row {
    const found = this.rows.find((row) => row.node === node && row.index === index);
    if (found) return found;
    const itself = index === ITSELF;
    const count = this.byNode && !itself ? PARTS.length : 1;
    const empty = (): Values[] => Array.from({ length: count }, () => this.times.map(() => null));
    const fields: readonly Field[] = itself ? HOST_FIELDS : GPU_FIELDS;
    const label = this.byNode ? `node ${node}` : itself ? "" : `GPU ${index}`;
    const row = { label, node, index, parts: Object.fromEntries(fields.map((field) => [field, empty()])) };
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
    return this.rows.flatMap((row) => Object.values(row.parts).flat());
  }
}

/** Reduce the known values of a span; null without any. */
function over(values: Values, from: number, to: number, reduce: Reduce): number | null {
  if (to - from === 1) return values[from] ?? null;
  const known = values.slice(from, to).filter((value) => value !== null);
  return known.length ? reduce(known) : null;
}
