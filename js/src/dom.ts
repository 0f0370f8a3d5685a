// Making elements, and the few formats of numbers that every view shares.

type Child = Node | string;
type Attributes = Record<string, string | number | boolean | EventListener | null>;

let made = 0;

/** An id that no other element of the page has. */
export function uniqueId(): string {
  made += 1;
  return `modal-gpu-${made}-${Math.random().toString(36).slice(2, 7)}`;
}

/** An element; `on…` attributes are listeners, `true` is an attribute without a value, `false` and null are none. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

/** Write only what is new: every write costs the page a layout. */
export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** A text whose parts between backticks are code. */
export function marked(text: string): Child[] {
  return text.split("`").map((part, place) => (place % 2 ? h("code", {}, part) : part));
}

/** `$3.95`, `$126`; `–` where it is not known. */
export function dollars(amount: number | null | undefined): string {
  if (amount === null || amount === undefined || Number.isNaN(amount)) return "–";
  if (amount > 0 && amount < 0.01) return "<$0.01";
  return amount >= 100 ? `$${Math.round(amount)}` : `$${amount.toFixed(2)}`;
}
