// The part of the page that shows orders. Only the server renders it; this script fetches it again and morphs it.

import { Idiomorph } from 'idiomorph';

import { NoAnswer, isLoggedOut, leave } from './api';
import { announce, type Change, show, type Status } from './live';
import type { Optimistic } from './optimistic';
import { localise } from './times';

/** The shortest time between two loads, so that a burst of events causes one load. */
const SHORTEST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5_000;
/** An event makes many pages load at once; each waits a random time up to this. */
const SPREAD_MS = 100;
const DEADLINE_MS = 10_000;

export class Region {
  readonly #element: HTMLElement;
  readonly #optimistic: Optimistic;
  /** Changes since the last load began, which its answer may lack. */
  #statuses = new Map<string, Status>();
  #created = new Set<string>();
  #stale = false;
  #loading = false;

  constructor(element: HTMLElement, optimistic: Optimistic) {
    this.#element = element;
    this.#optimistic = optimistic;
    optimistic.update(element);
    localise(element);
    // The server was told only of the last one; ask it whether the others are listed by now.
    if (optimistic.ids().length > 0) this.refresh();
  }

  created({ orderId }: Change): void {
    if (!this.#concerns(orderId)) return;
    this.#created.add(orderId);
    this.refresh();
  }

  updated({ orderId, status }: Change): void {
    if (!this.#concerns(orderId)) return;
    this.#statuses.set(orderId, status);
    const before = statuses(this.#element);
    this.#applyStatuses(this.#element);
    this.#announce(before);
    // An order that is not shown may belong here: its creation was not told, or is told later.
    const isUnseen = !before.has(orderId);
    if (isUnseen) this.#created.add(orderId);
    // A list filtered by status, and the page of one order, change in more than the status.
    const { byStatus, order } = this.#element.dataset;
    if (isUnseen || byStatus !== undefined || order !== undefined || this.#optimistic.has(orderId)) this.refresh();
  }

  /** Loads the current state from the server as soon as possible. */
  refresh(): void {
    this.#stale = true;
    if (!this.#loading) void this.#load();
  }

  /** A list concerns every order, an order's page only that one. */
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
      const [missed, created] = [this.#statuses, this.#created];
      [this.#statuses, this.#created] = [new Map(), new Set()];
      try {
        this.#show(await this.#fetch(), created);
        pause = SHORTEST_PAUSE_MS;
        show({ behind: false });
      } catch (error) {
        if (!(error instanceof NoAnswer)) console.error(error);
        this.#statuses = new Map([...missed, ...this.#statuses]);
        this.#created = new Set([...created, ...this.#created]);
        this.#stale = true;
        pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
        show({ behind: true });
      }
      await pass(pause);
    }
    this.#loading = false;
  }

  /** Fetches the current state from the server. */
  async #fetch(): Promise<HTMLElement> {
    try {
      const response = await fetch(this.#element.dataset['url'] ?? location.href, {
        // A refresh is not a visit, which would remember this tenant.
        headers: { 'x-refresh': 'true', 'x-sent': this.#optimistic.ids().join(' ') },
        signal: AbortSignal.timeout(DEADLINE_MS),
      });
      if (isLoggedOut(response.status)) leave();
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
    localise(fresh);
    // PAID and CANCELLED are final: an answer that was already on its way must not undo them.
    this.#applyStatuses(fresh);
    const before = statuses(this.#element);
    Idiomorph.morph(this.#element, fresh, { morphStyle: 'outerHTML', callbacks: { beforeAttributeUpdated: isOurs } });
    this.#announce(before, created);
  }

  #applyStatuses(root: HTMLElement): void {
    for (const order of orders(root)) {
      const status = this.#statuses.get(order.id);
      if (status !== undefined) setStatus(order, status);
    }
  }

  /** Marks and announces orders that are `created` or changed since `before`; others came into view by paging. */
  #announce(before: Map<string, string | undefined>, created?: Set<string>): void {
    const news: string[] = [];
    for (const order of orders(this.#element)) {
      const status = order.dataset['status'];
      const isNew = !before.has(order.id);
      if (isNew ? !created?.has(order.id) : before.get(order.id) === status) continue;
      order.classList.add('changed');
      order.addEventListener('animationend', () => order.classList.remove('changed'), { once: true });
      news.push(isNew && status === 'PENDING' ? `New order ${order.id}` : `Order ${order.id} is ${status}`);
    }
    if (news.length > 3) announce(`${news.length} orders have changed`);
    else if (news.length > 0) announce(news.join('. '));
  }
}

/** Whether the server decides on an attribute: what a visitor has opened stays open. */
const isOurs = (attribute: string) => attribute !== 'open';

const pass = (ms: number) => new Promise((resume) => setTimeout(resume, ms));

/** Waits until the page is visible. */
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
