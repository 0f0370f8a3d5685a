// What a click of the picker does to its choice. Pure, without the page.
//
// Facts come from the catalog with every picker (`offers.ts`); this file knows no GPU by name. Python decides what is
// legal (`ui/widgets/picker.py`).

import { fit, rowOf, type Need, type Row } from "./offers";
import type { Choice, Spec } from "./spec";

/** Choose a GPU: as many as the model needs; without a model as many as before, up to the GPU's most. */
export function chooseGpu(choice: Choice, rows: readonly Row[], row: Row, need: Need): Choice {
  const before = choice.specs[0];
  const spec = { name: row.name, count: Math.min(before?.count ?? 1, row.max), strict: row.strict && (before?.strict ?? false) };
  const specs = [spec, ...choice.specs.slice(1).filter((other) => other.name !== row.name)];
  return hold(settle({ ...choice, specs }, row), rows, need);
}

/** Set the counts and the nodes to what the chosen model needs. A GPU that is too small for the model keeps its count. */
export function hold(choice: Choice, rows: readonly Row[], need: Need): Choice {
  const row = rowOf(choice.specs[0]?.name, rows);
  const found = row && need.model ? fit(row, need) : undefined;
  if (!found?.ok) return choice;
  const [first, ...others] = choice.specs;
  const fallbacks = others.flatMap((spec) => {
    const other = rowOf(spec.name, rows);
    if (!other || (found.nodes > 1 && !other.cluster)) return []; // a cluster consists of whole nodes of such GPUs
    return [{ ...spec, count: found.nodes > 1 ? other.max : needed(other, need, spec.count) }];
  });
  return { ...choice, nodes: found.nodes, specs: [{ ...first!, count: found.count }, ...fallbacks] };
}

export function chooseCount(choice: Choice, row: Row, count: number): Choice {
  return settle(replaceAt(choice, 0, { count: within(count, row.max) }), row);
}

/** Set the counts of a cluster to whole nodes, including fallbacks. */
export function chooseNodes(choice: Choice, rows: readonly Row[], nodes: number, most: number): Choice {
  const many = within(nodes, most);
  const found = choice.specs.map((spec) => rowOf(spec.name, rows));
  if (many === 1 || !found.length || !found.every((row) => row?.cluster)) return { ...choice, nodes: 1 };
  return { ...choice, nodes: many, specs: choice.specs.map((spec, place) => ({ ...spec, count: found[place]!.max })) };
}

export function chooseStrict(choice: Choice, row: Row, strict: boolean): Choice {
  return replaceAt(choice, 0, { strict: strict && row.strict });
}

/** Add a fallback with the count of the choice, or with what the model needs of the GPU; a whole node in a cluster. */
export function addFallback(choice: Choice, row: Row, need: Need): Choice {
  const inherited = Math.min(choice.specs[0]?.count ?? 1, row.max);
  const count = choice.nodes > 1 ? row.max : needed(row, need, inherited);
  return { ...choice, specs: [...choice.specs, { name: row.name, count, strict: false }] };
}

/** Set the count of a fallback; `place` counts from 1, as index 0 is the choice. */
export function countFallback(choice: Choice, row: Row, place: number, count: number): Choice {
  return replaceAt(choice, place, { count: within(count, row.max) });
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

/** The count that the model needs on one node; without a model, or where no node is enough, `otherwise`. */
function needed(row: Row, need: Need, otherwise: number): number {
  const found = need.model ? fit(row, need) : undefined;
  return found?.ok && found.nodes === 1 ? found.count : otherwise;
}

function within(number: number, most: number): number {
  return Math.min(most, Math.max(1, Math.round(number) || 1));
}

function replaceAt(choice: Choice, place: number, change: Partial<Spec>): Choice {
  return { ...choice, specs: choice.specs.map((spec, index) => (index === place ? { ...spec, ...change } : spec)) };
}

/** Repair what a change makes impossible: no cluster of unsupported GPUs, whole nodes in a cluster. */
function settle(choice: Choice, row: Row): Choice {
  if (choice.nodes === 1) return choice;
  if (!row.cluster) return { ...choice, nodes: 1 };
  return replaceAt(choice, 0, { count: row.max });
}
