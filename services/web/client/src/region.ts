// The part of the page that shows orders. The server renders it, always; here it is fetched again and morphed.

import { Idiomorph } from 'idiomorph';

import { NoAnswer } from './api';
import { announce, type Change, show, type Status } from './live';
import type { Optimistic } from './optimistic';

/** The shortest time between two loads: a burst of events is one load. */
const SHORTEST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5_000;
/** An event makes many pages load: they do so some time within this. */
const SPREAD_MS = 100;
const DEADLINE_MS = 10_000;

export class Region {
  readonly #element: HTMLElement;
  readonly #optimistic: Optimistic;
  /** What happened since the last load began, which its answer may not tell. */
  #settled = new Map<string, Status>();
  #created = new Set<string>();
  #stale = false;
  #loading = false;

  constructor(element: HTMLElement, optimistic: Optimistic) {
    this.#element = element;
    this.#optimistic = optimistic;
    optimistic.update(element);
    // The server knows of the last one only: it has to say first whether the others are listed by now.
    if (optimistic.ids().length > 0) this.refresh();
  }

  created({ orderId }: Change): void {
    if (!this.#concerns(orderId)) return;
    this.#created.add(orderId);
    this.refresh();
  }

  updated({ orderId, status }: Change): void {
    if (!this.#concerns(orderId)) return;
    this.#settled.set(orderId, status);
    const before = statuses(this.#element);
    this.#settle(this.#element);
    this.#tell(before);
    // More than the status changes: which orders a list by status has, what one order's page offers.
    const { byStatus, order } = this.#element.dataset;
    if (byStatus !== undefined || order !== undefined || this.#optimistic.has(orderId)) this.refresh();
  }

  /** Loads what the server has now, as soon as it can be had. */
  refresh(): void {
    this.#stale = true;
    if (!this.#loading) void this.#load();
  }

  /** A list is of every order, the page of one of that one. */
  #concerns(orderId: string): boolean {
    const { order } = this.#element.dataset;
    return order === undefined || order === orderId;
  }

  async #load(): Promise<void> {
    this.#loading = true;
    for (let pause = SHORTEST_PAUSE_MS; this.#stale; ) {
      await pass(Math.random() * SPREAD_MS);
      await visible();
      this.#stale = false;
      const [settled, created] = [this.#settled, this.#created];
      [this.#settled, this.#created] = [new Map(), new Set()];
      try {
        this.#show(await this.#fetch(), created);
        pause = SHORTEST_PAUSE_MS;
        show({ behind: false });
      } catch (error) {
        if (!(error instanceof NoAnswer)) console.error(error);
        this.#settled = new Map([...settled, ...this.#settled]);
        this.#created = new Set([...created, ...this.#created]);
        this.#stale = true;
        pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
        show({ behind: true });
      }
      await pass(pause);
    }
    this.#loading = false;
  }

  /** What the server has now. */
  async #fetch(): Promise<HTMLElement> {
    try {
      const response = await fetch(this.#element.dataset['url'] ?? location.href, {
        // Not a visit, which would make this tenant the last one.
        headers: { 'x-refresh': 'true', 'x-sent': this.#optimistic.ids().join(' ') },
        signal: AbortSignal.timeout(DEADLINE_MS),
      });
      const page = new DOMParser().parseFromString(await response.text(), 'text/html');
      const fresh = page.getElementById('region');
      if (response.status >= 500 || fresh === null) throw new Error(`answer ${response.status}`);
      return fresh;
    } catch (error) {
      throw new NoAnswer('no answer', { cause: error });
    }
  }

  #show(fresh: HTMLElement, created: Set<string>): void {
    this.#optimistic.update(fresh);
    // PAID and CANCELLED are final: an answer that was on its way does not turn them back.
    this.#settle(fresh);
    const before = statuses(this.#element);
    Idiomorph.morph(this.#element, fresh, { morphStyle: 'outerHTML' });
    this.#tell(before, created);
  }

  #settle(root: HTMLElement): void {
    for (const order of orders(root)) {
      const status = this.#settled.get(order.id);
      if (status !== undefined) setStatus(order, status);
    }
  }

  /** Shows and says which orders are `created` or have another status than `before`; others came into view by paging. */
  #tell(before: Map<string, string | undefined>, created?: Set<string>): void {
    const news: string[] = [];
    for (const order of orders(this.#element)) {
      const status = order.dataset['status'];
      const isNew = !before.has(order.id);
      if (isNew ? !created?.has(order.id) : before.get(order.id) === status) continue;
      order.classList.add('changed');
      order.addEventListener('animationend', () => order.classList.remove('changed'), { once: true });
      news.push(isNew ? `New order ${order.id}` : `Order ${order.id} is ${status}`);
    }
    if (news.length > 3) announce(`${news.length} orders have changed`);
    else if (news.length > 0) announce(news.join('. '));
  }
}

const pass = (ms: number) => new Promise((resume) => setTimeout(resume, ms));

/** Waits until somebody can see the page. */
async function visible(): Promise<void> {
  while (document.hidden) {
    await new Promise((resume) => document.addEventListener('visibilitychange', resume, { once: true }));
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
