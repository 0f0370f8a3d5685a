// State of a picker: GPUs with fallbacks, nodes, image; GPUs that fit a need; the line. Pure, without the page.
//
// Facts come from the catalog with every picker; this file knows no GPU by name. Python decides what is legal
// (`ui/widgets/picker.py`); `tests/line_cases.json` checks that both sides produce the same lines.

/** One GPU of the catalog, from Python. Prices in dollars per hour and GPU, memory in GB. */
export interface Row {
  name: string;
  vram: number;
  max: number;
  price: number;
  best: string;
  architecture: string;
  bandwidth: number;
  notes: string;
  strict: boolean;
  cluster: boolean;
}

/** A GPU request: `H100!:2`. */
export interface Spec {
  name: string;
  count: number;
  strict: boolean;
}

/** The machine that a line describes. The first spec is the choice, the others are its fallbacks, in order. */
export interface Choice {
  specs: readonly Spec[];
  nodes: number;
  image: string;
}

/** Memory that a model needs, in GB of all GPUs of a machine together; `gb` 0: any GPU fits. */
export interface Need {
  gb: number;
  each: number;
}

/** Whether a GPU fits a need: the count needed, or the reason why not. */
export type Fit = { ok: true; count: number } | { ok: false; why: string };

export const DEFAULT_IMAGE = "torch";

export function parseSpecs(text: string): Spec[] {
  return text
    .split(/[\s,]+/)
    .filter((word) => word)
    .map((word) => {
      const match = /^([^!:]+)(!?)(?::(\d+))?$/.exec(word);
      if (!match) throw new Error(`${word} is no GPU spec`);
      return { name: match[1]!, strict: match[2] === "!", count: Number(match[3] ?? 1) };
    });
}

export function specText(spec: Spec): string {
  return `${spec.name}${spec.strict ? "!" : ""}${spec.count > 1 ? `:${spec.count}` : ""}`;
}

/** Specs in the format of the trait `spec`: `H100:2,A100-80GB`. */
export function specsText(specs: readonly Spec[]): string {
  return specs.map(specText).join(",");
}

/** The arguments of `%%modal_gpu` (and of `%modal_gpu use`). */
export function lineText(choice: Choice): string {
  const words = choice.specs.map(specText);
  if (choice.nodes > 1) words.push("--nodes", String(choice.nodes), "--torchrun");
  if (choice.image !== DEFAULT_IMAGE) words.push("--image", choice.image);
  return words.join(" ");
}

export function fit(row: Row, need: Need): Fit {
  if (row.vram < need.each) return { ok: false, why: `${row.vram} GB each` };
  const count = Math.max(1, Math.ceil(need.gb / row.vram));
  if (count > row.max) return { ok: false, why: `${row.max} have ${row.vram * row.max} GB` };
  return { ok: true, count };
}

/** Dollars per hour of a spec on a number of nodes. */
export function price(row: Row, count: number, nodes = 1): number {
  return row.price * count * nodes;
}

/** Choose a GPU; keep the count if the GPU has as many, and raise the count to the need. */
export function chooseGpu(choice: Choice, row: Row, need: Need): Choice {
  const before = choice.specs[0];
  const found = fit(row, need);
  const wanted = Math.max(before?.count ?? 1, found.ok ? found.count : 1);
  const spec = { name: row.name, count: Math.min(wanted, row.max), strict: row.strict && (before?.strict ?? false) };
  return settle({ ...choice, specs: [spec, ...choice.specs.slice(1).filter((other) => other.name !== row.name)] }, row);
}

export function chooseCount(choice: Choice, row: Row, count: number): Choice {
  const whole = Math.min(row.max, Math.max(1, Math.round(count) || 1));
  return settle(replaceFirst(choice, { count: whole }), row);
}

/** Set the counts of a cluster to whole nodes, including fallbacks. */
export function chooseNodes(choice: Choice, rows: readonly Row[], nodes: number, most: number): Choice {
  const many = Math.min(most, Math.max(1, Math.round(nodes) || 1));
  const found = choice.specs.map((spec) => rows.find((row) => row.name === spec.name));
  if (many === 1 || !found.length || !found.every((row) => row?.cluster)) return { ...choice, nodes: 1 };
  return { ...choice, nodes: many, specs: choice.specs.map((spec, place) => ({ ...spec, count: found[place]!.max })) };
}

export function chooseStrict(choice: Choice, row: Row, strict: boolean): Choice {
  return replaceFirst(choice, { strict: strict && row.strict });
}

export function addFallback(choice: Choice, row: Row, need: Need): Choice {
  const found = fit(row, need);
  const count = Math.min(row.max, Math.max(found.ok ? found.count : 1, choice.nodes > 1 ? row.max : 1));
  return { ...choice, specs: [...choice.specs, { name: row.name, count, strict: false }] };
}

/** Move a fallback up (`by` -1) or down (1); `place` counts from 1, as index 0 is the choice. */
export function moveFallback(choice: Choice, place: number, by: number): Choice {
  const specs = [...choice.specs];
  const other = place + by;
  if (place < 1 || other < 1 || Math.max(place, other) >= specs.length) return choice;
  [specs[place], specs[other]] = [specs[other]!, specs[place]!];
  return { ...choice, specs };
}

export function removeFallback(choice: Choice, place: number): Choice {
  return { ...choice, specs: choice.specs.filter((_, other) => other !== place || place === 0) };
}

function replaceFirst(choice: Choice, change: Partial<Spec>): Choice {
  const [first, ...rest] = choice.specs;
  return first ? { ...choice, specs: [{ ...first, ...change }, ...rest] } : choice;
}

/** Repair what a change makes impossible: no cluster of unsupported GPUs, whole nodes in a cluster. */
function settle(choice: Choice, row: Row): Choice {
  if (choice.nodes === 1) return choice;
  if (!row.cluster) return { ...choice, nodes: 1 };
  return replaceFirst(choice, { count: row.max });
}
