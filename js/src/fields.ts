// Form fields of the picker: a select, a radio group drawn as one control, a number with two buttons, a switch.

import { h, uniqueId } from "./dom";

/** A labelled select; `show` sets its value. */
export function select(
  label: string,
  values: readonly string[],
  word: (value: string) => string,
  chosen: (value: string) => void,
): { element: HTMLElement; show: (value: string) => void } {
  const box = h("select", { id: uniqueId() }, ...values.map((value) => h("option", { value }, word(value))));
  box.addEventListener("change", () => chosen(box.value));
  const element = h("span", { class: "mgp-field" }, h("label", { for: box.id }, label), box);
  const show = (value: string): void => {
    if (![...box.options].some((option) => option.value === value)) box.append(h("option", { value }, word(value)));
    box.value = value;
  };
  return { element, show };
}

/** A radio group styled as one control. */
export function segments(
  label: string,
  values: readonly [string, string][],
  first: string,
  chosen: (value: string) => void,
): HTMLElement {
  const name = uniqueId();
  const parts = values.map(([value, word]) => {
    const radio = h("input", { type: "radio", name, id: uniqueId(), value, checked: value === first });
    radio.addEventListener("change", () => chosen(value));
    return h("span", {}, radio, h("label", { for: radio.id }, word));
  });
  return h(
    "span",
    { class: "mgp-field" },
    h("span", { "aria-hidden": "true" }, label),
    h("span", { class: "mgp-segments", role: "radiogroup", "aria-label": label }, ...parts),
  );
}

/** A number with two buttons. */
export function stepper(
  label: string,
  most: () => number,
  chosen: (value: number) => void,
): { element: HTMLElement; show: (value: number, fixed: boolean) => void } {
  const number = h("input", { type: "number", min: 1, value: 1, id: uniqueId() });
  number.addEventListener("change", () => chosen(Number(number.value)));
  const step = (by: number, sign: string): HTMLButtonElement =>
    h(
      "button",
      { type: "button", "aria-label": `${by > 0 ? "More" : "Fewer"} ${label}`, onclick: () => chosen(Number(number.value) + by) },
      sign,
    );
  const [less, more] = [step(-1, "−"), step(1, "+")];
  const element = h(
    "span",
    { class: "mgp-field" },
    h("label", { for: number.id }, label),
    h("span", { class: "mgp-stepper" }, less, number, more),
  );
  const show = (value: number, fixed: boolean): void => {
    number.value = String(value);
    number.max = String(most());
    number.disabled = fixed;
    less.disabled = fixed || value <= 1;
    more.disabled = fixed || value >= most();
  };
  return { element, show };
}

/** Replace children; restore the focus by label, or by index. */
export function replaceKeepingFocus(parent: HTMLElement, children: HTMLElement[]): void {
  const active = parent.ownerDocument.activeElement;
  const label = active && parent.contains(active) ? active.getAttribute("aria-label") : null;
  parent.replaceChildren(...children);
  if (label === null) return;
  const buttons = [...parent.querySelectorAll("button")];
  (buttons.find((button) => button.getAttribute("aria-label") === label && !button.disabled) ?? buttons.find((button) => !button.disabled))?.focus();
}

/** A checkbox drawn as a switch. */
export function toggle(
  label: string,
  title: string,
  chosen: (on: boolean) => void,
): { element: HTMLElement; show: (on: boolean, fixed: boolean) => void } {
  const box = h("input", { type: "checkbox", role: "switch", id: uniqueId() });
  box.addEventListener("change", () => chosen(box.checked));
  const element = h(
    "span",
    { class: "mgp-field" },
    h("label", { for: box.id, title }, label),
    h("span", { class: "mgp-switch" }, box, h("span", { "aria-hidden": "true" })),
  );
  const show = (on: boolean, fixed: boolean): void => {
    box.checked = on;
    box.disabled = fixed;
  };
  return { element, show };
}
