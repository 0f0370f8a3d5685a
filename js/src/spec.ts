// A machine as GPUs with fallbacks, nodes, image and region, and its line. Pure, without the page.
//
// `tests/line_cases.json` checks that Python (`ui/widgets/picker.py`) writes the same lines.

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
  region: string;
}

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

/** The arguments of `%%modal_gpu` (and of `%modal_gpu use`). `inherited`: image that a line without `--image` gets; `inheritedRegion`: likewise of `--region`, empty: none. */
export function lineText(choice: Choice, inherited = DEFAULT_IMAGE, inheritedRegion = ""): string {
  const words = choice.specs.map(specText);
  if (choice.nodes > 1) words.push("--nodes", String(choice.nodes), "--torchrun");
  if (choice.image !== DEFAULT_IMAGE || inherited !== DEFAULT_IMAGE) words.push("--image", choice.image);
  const region = choice.region || (inheritedRegion && "any");
  if (region) words.push("--region", region);
  return words.join(" ");
}
