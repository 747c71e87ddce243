// Orders of this tab that the list may not show yet: their rows are made from the submitted values.

import { BASE } from './api';

export interface Sent {
  tenantId: string;
  orderId: string;
  createdAt: string;
  buyerName: string;
  buyerEmail: string;
  items: string;
  total: string;
  filename: string;
}

const KEY = 'orders.sent';
/** Orders are listed within milliseconds, or when the daemons are back. A row made here must not stay any longer. */
const LONGEST_MS = 10 * 60 * 1_000;

function load(): Sent[] {
  try {
    const sent = JSON.parse(sessionStorage.getItem(KEY) ?? '[]') as Sent[];
    return sent.filter((order) => Date.now() - Date.parse(order.createdAt) < LONGEST_MS);
  } catch {
    return [];
  }
}

function save(sent: Sent[]): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(sent));
  } catch {
    // Storage is off or full: the row appears when the list has it.
  }
}

/** Keeps an order for the next list. */
export function remember(order: Sent): void {
  save([...load(), order]);
}

export class Optimistic {
  readonly #tenantId: string;

  constructor(tenantId: string) {
    this.#tenantId = tenantId;
  }

  #sent(): Sent[] {
    return load().filter((order) => order.tenantId === this.#tenantId);
  }

  /** Whether the order is one of this tab's that the list may not show yet. */
  has(orderId: string): boolean {
    return this.#sent().some((order) => order.orderId === orderId);
  }

  /** The ids of all of them, for the server to look up. */
  ids(): string[] {
    return this.#sent().map((order) => order.orderId);
  }

  /** Forgets orders that the list in `root` marks as listed, and adds rows for the others at its top. */
  update(root: HTMLElement): void {
    const body = root.querySelector('tbody');
    const template = document.querySelector<HTMLTemplateElement>('template#row');
    if (body === null || template === null) return;
    const named = (name: string) => body.dataset[name]?.split(' ') ?? [];
    const [listed, unlisted] = [named('listed'), named('unlisted')];
    save(load().filter((order) => !listed.includes(order.orderId)));
    if (!('newest' in root.dataset)) return;
    for (const order of this.#sent()) {
      if (unlisted.includes(order.orderId)) body.prepend(row(template, order));
    }
  }
}

function row(template: HTMLTemplateElement, order: Sent): HTMLElement {
  const row = document.importNode(template.content, true).firstElementChild as HTMLElement;
  row.id = order.orderId;
  row.classList.add('optimistic');
  const fill = (name: string, text: string) => {
    const cell = row.querySelector<HTMLElement>(`[data-field="${name}"]`);
    if (cell !== null) cell.textContent = text;
    return cell;
  };
  const link = fill('orderId', order.orderId) as HTMLAnchorElement | null;
  if (link !== null) {
    const query = new URLSearchParams({ tenantId: order.tenantId });
    link.title = order.orderId;
    link.href = `${BASE}/orders/${encodeURIComponent(order.orderId)}?${query}`;
  }
  const time = fill('createdAt', order.createdAt.slice(0, 16).replace('T', ' ')) as HTMLTimeElement | null;
  if (time !== null) time.dateTime = order.createdAt;
  fill('buyerName', order.buyerName);
  fill('buyerEmail', order.buyerEmail);
  fill('items', order.items);
  fill('total', order.total);
  fill('filename', order.filename);
  return row;
}
