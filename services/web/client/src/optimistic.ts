// Orders of this tab that the list may not show yet: their rows are shown from what was sent.

export interface Sent {
  tenantId: string;
  orderId: string;
  createdAt: string;
  buyerEmail: string;
  total: string;
  filename: string;
}

const KEY = 'orders.sent';
/** An order is listed within milliseconds, or when the daemons are back; later a row made here would only be wrong. */
const LONGEST_MS = 10 * 60 * 1_000;
const DEADLINE_MS = 10_000;

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

/** Keeps an order for the list that is shown next. */
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

  /** Whether the order is one of this tab that the list may not show yet. */
  has(orderId: string): boolean {
    return this.#sent().some((order) => order.orderId === orderId);
  }

  /** The orders of this tab that are listed by now, on whatever page. */
  async listed(): Promise<Set<string>> {
    const listed = new Set<string>();
    for (const { orderId } of this.#sent()) {
      if (await this.#isListed(orderId)) listed.add(orderId);
    }
    return listed;
  }

  /**
   * Forgets the orders that the list in `root` has, and those that were `listed` before it was rendered. Asked for
   * later, one could be listed in between: its row would be gone until the next list.
   */
  forget(root: HTMLElement, listed: Set<string>): void {
    for (const { orderId } of this.#sent()) {
      if (find(root, orderId) === null && !listed.has(orderId)) continue;
      save(load().filter((order) => order.orderId !== orderId));
    }
  }

  async #isListed(orderId: string): Promise<boolean> {
    const query = new URLSearchParams({ tenantId: this.#tenantId });
    const answer = await fetch(`/api/orders/${encodeURIComponent(orderId)}?${query}`, {
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    return answer.ok;
  }

  /** Puts the rows that the list in `root` lacks on top of it. */
  addTo(root: HTMLElement): void {
    const template = document.querySelector<HTMLTemplateElement>('template#row');
    const body = root.querySelector('tbody');
    if (!('newest' in root.dataset) || template === null || body === null) return;
    for (const order of this.#sent()) {
      if (find(root, order.orderId) === null) body.prepend(row(template, order));
    }
  }
}

function find(root: HTMLElement, orderId: string): Element | null {
  return root.querySelector(`[id="${CSS.escape(orderId)}"]`);
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
    link.href = `/orders/${encodeURIComponent(order.orderId)}?${query}`;
  }
  const time = fill('createdAt', order.createdAt.slice(0, 16).replace('T', ' ')) as HTMLTimeElement | null;
  if (time !== null) time.dateTime = order.createdAt;
  fill('buyerEmail', order.buyerEmail);
  fill('total', order.total);
  fill('filename', order.filename);
  return row;
}
