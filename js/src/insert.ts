// Insert: puts the header into the cell below the picker. Pure: the cells are any object with the members of `Cells`.

import type { Cells } from "./cells";

const MAGIC = "%%modal_gpu";

/** Put `header` into the cell below, or into a new cell if that cell cannot take it; return what was done, as a sentence. */
export function insertHeader(cells: Cells, header: string): string {
  const below = cells.own + 1;
  const written = below < cells.count && cells.isCode(below) ? withHeader(cells.source(below), header) : null;
  if (!written) {
    cells.insert(below, `${header}\n`);
    return "Inserted a new cell below.";
  }
  if (written.source !== cells.source(below)) cells.write(below, written.source);
  if (!written.replaced) return "Inserted into the cell below.";
  return written.replaced === header ? "The cell below has this line already." : `Replaced ${written.replaced} in the cell below.`;
}

/** Return the source with the header, and the header that it replaces; null: another cell magic is on the first line. */
export function withHeader(source: string, header: string): { source: string; replaced: string } | null {
  const lines = source.split("\n");
  const first = lines.findIndex((line) => line.trim() && !line.trimStart().startsWith("#"));
  const line = lines[first] ?? "";
  if (!line.startsWith("%%")) return { source: source.trim() ? `${header}\n${source}` : `${header}\n`, replaced: "" };
  if (line.split(/\s/, 1)[0] !== MAGIC) return null;
  let last = first;
  while (lines[last]!.endsWith("\\") && last + 1 < lines.length) last += 1; // `\` continues the header
  const replaced = lines.slice(first, last + 1).map((part) => part.replace(/\\$/, "").trim());
  return { source: [...lines.slice(0, first), header, ...lines.slice(last + 1)].join("\n"), replaced: replaced.join(" ") };
}

/** Copy a text; return whether the browser allowed it. Pages without HTTPS have no `navigator.clipboard`. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelected(text);
  }
}

function copySelected(text: string): boolean {
  const area = document.createElement("textarea");
  const focused = document.activeElement;
  area.value = text;
  area.style.position = "fixed";
  area.style.opacity = "0";
  document.body.append(area);
  area.select();
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    area.remove();
    if (focused instanceof HTMLElement) focused.focus();
  }
}
