// The part of the page that shows orders. The server renders it, always; here it is fetched again and morphed.

import { Idiomorph } from 'idiomorph';

import { announce, type Change, type Status } from './live';
import type { Optimistic } from './optimistic';

/** The shortest time between two loads: a burst of events is one load. */
const SHORTEST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5_000;

export class Region {
  readonly #element: HTMLElement;
  readonly #optimistic: Optimistic;
  /** Orders known to be settled, which is final: an answer that was on its way does not turn them back. */
  readonly #settled = new Map<string, Status>();
  /** Orders created while the page is open: others come into view by paging. */
  readonly #created = new Set<string>();
  #stale = false;
  #loading = false;

  constructor(element: HTMLElement, optimistic: Optimistic) {
    this.#element = element;
    this.#optimistic = optimistic;
    optimistic.addTo(element);
  }

  created({ orderId }: Change): void {
    this.#created.add(orderId);
    this.#optimistic.forget(orderId);
    this.refresh();
  }

  updated({ orderId, status }: Change): void {
    this.#settled.set(orderId, status);
    const before = statuses(this.#element);
    this.#settle(this.#element);
    this.#tell(before);
    // It is listed; and a list by status has other orders now.
    const wasOptimistic = this.#optimistic.forget(orderId);
    if (wasOptimistic || 'byStatus' in this.#element.dataset) this.refresh();
  }

  /** Loads what the server has now, as soon as it can be had. */
  refresh(): void {
    this.#stale = true;
    if (!this.#loading) void this.#load();
  }

  async #load(): Promise<void> {
    this.#loading = true;
    for (let pause = SHORTEST_PAUSE_MS; this.#stale; ) {
      this.#stale = false;
      if (await this.#loadOnce()) {
        pause = SHORTEST_PAUSE_MS;
      } else {
        this.#stale = true;
        pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
      }
      await new Promise((resume) => setTimeout(resume, pause));
    }
    this.#loading = false;
  }

  /** Whether the server answered. */
  async #loadOnce(): Promise<boolean> {
    try {
      const response = await fetch(this.#element.dataset['url'] ?? location.href);
      if (response.status >= 500) return false;
      const page = new DOMParser().parseFromString(await response.text(), 'text/html');
      const fresh = page.getElementById('region');
      if (fresh === null) return false;
      this.#settle(fresh);
      this.#optimistic.addTo(fresh);
      const before = statuses(this.#element);
      Idiomorph.morph(this.#element, fresh, { morphStyle: 'outerHTML' });
      this.#tell(before);
      return true;
    } catch {
      return false;
    }
  }

  /** Shows the statuses that are known to be final. */
  #settle(root: HTMLElement): void {
    for (const order of orders(root)) {
      const status = this.#settled.get(order.id);
      if (status !== undefined) setStatus(order, status);
    }
  }

  /** Shows and says what is other than `before`. */
  #tell(before: Map<string, string | undefined>): void {
    const news: string[] = [];
    for (const order of orders(this.#element)) {
      const status = order.dataset['status'];
      if (before.get(order.id) === status) continue;
      if (!before.has(order.id) && !this.#created.has(order.id)) continue;
      order.classList.add('changed');
      order.addEventListener('animationend', () => order.classList.remove('changed'), { once: true });
      news.push(before.has(order.id) ? `Order ${order.id} is ${status}` : `New order ${order.id}`);
    }
    if (news.length > 3) announce(`${news.length} orders have changed`);
    else if (news.length > 0) announce(news.join('. '));
  }
}

function orders(root: HTMLElement): NodeListOf<HTMLElement> {
  return root.querySelectorAll<HTMLElement>('[data-status]');
}

function statuses(root: HTMLElement): Map<string, string | undefined> {
  return new Map(Array.from(orders(root), (order) => [order.id, order.dataset['status']]));
}

function setStatus(order: HTMLElement, status: Status): void {
  order.dataset['status'] = status;
  const badge = order.querySelector('.status');
  if (badge !== null) badge.textContent = status;
}
