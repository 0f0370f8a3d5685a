// Functions that create elements, and number formats of all views.

type Child = Node | string;
type Attributes = Record<string, string | number | boolean | EventListener | null>;

let count = 0;

/** Return an id that no other element of the page has. */
export function uniqueId(): string {
  count += 1;
  return `modal-gpu-${count}-${Math.random().toString(36).slice(2, 7)}`;
}

/** Create an element; `on…` attributes are listeners, `true` is an attribute without value, `false` and null are omitted. */
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

/** Set an element's text only if changed, since every write causes a layout. */
export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Split text into nodes; parts between backticks are code. */
export function marked(text: string): Child[] {
  return text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));
}

/** An estimate: `≈ $0.04`, `<$0.01`, `–`, as Python's `plan.machine.quote.about`. */
export function about(amount: number | null): string {
  const text = dollars(amount);
  return text.startsWith("$") ? `≈ ${text}` : text;
}

/** `$3.95`, `$126`, `<$0.01`; `–` if unknown: Python's `plan.machine.quote.dollars`, held by `dollars_cases.json`. */
export function dollars(amount: number | null | undefined): string {
  if (amount === null || amount === undefined || Number.isNaN(amount)) return "–";
  if (amount > 0 && amount < 0.005) return "<$0.01";
  const digits = amount < 99.995 ? 2 : 0; // three digits, then no cents
  return `$${amount.toFixed(digits).replace(/\B(?=(\d{3})+$)/, ",")}`;
}
