type Child = Node | string | undefined | false;

/**
 * An element with attributes and children. Whatever is text stays text: names and reasons come from whoever may signal
 * a migration.
 */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string | boolean | undefined>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, '');
    else if (typeof value === 'string') element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== false));
  return element;
}

/** A part of the page that has to be there. */
export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found;
}

/** Makes an element hold these children. What looks as before stays what it is, with its focus, scroll and open details. */
export function fill(element: Element, ...children: readonly Child[]): void {
  become(element, el('div', {}, ...children));
}

function become(shown: Element, next: Element): void {
  const [before, after] = [[...shown.childNodes], [...next.childNodes]];
  for (const [index, node] of after.entries()) {
    const old = before[index];
    if (old === undefined) shown.append(node);
    else if (!node.isEqualNode(old)) {
      if (old instanceof HTMLElement && node instanceof HTMLElement && isAlike(old, node)) become(old, node);
      else old.replaceWith(node);
    }
  }
  for (const old of before.slice(after.length)) old.remove();
}

function isAlike(one: Element, other: Element): boolean {
  return one.cloneNode().isEqualNode(other.cloneNode());
}

let announced = '';

/** Says something to people who do not see the page, once. */
export function announce(text: string): void {
  if (text === announced) return;
  announced = text;
  byId('announcer').textContent = text;
}

/** A table with a heading for each column; the first cell of a row names it. */
export function table(caption: string, header: readonly string[], rows: readonly (readonly Child[])[]): HTMLElement {
  const head = el('tr', {}, ...header.map((name) => el('th', { scope: 'col' }, name)));
  const body = rows.map(([first, ...cells]) =>
    el('tr', {}, el('th', { scope: 'row' }, first), ...cells.map((cell) => el('td', {}, cell))),
  );
  // It may be wider than a phone: then it is scrolled by itself, by keyboard too.
  return el(
    'div',
    { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': caption },
    el('table', {}, el('caption', { class: 'unseen' }, caption), el('thead', {}, head), el('tbody', {}, ...body)),
  );
}
