// The live connection: Socket.IO on the page's own origin, resumed by offset.

import { io } from 'socket.io-client';

import { BASE, isLoggedOut, leave } from './api';

export type Status = 'PENDING' | 'PAID' | 'CANCELLED';

export interface Change {
  orderId: string;
  status: Status;
}

export interface Listener {
  /** An order is new in the list. */
  created(change: Change): void;
  /** An order has another status. */
  updated(change: Change): void;
  /** Changes may have happened without an event. */
  missed(): void;
}

/** The position of an event in the feed; opaque. */
interface Place {
  offset: string;
}

const RECONNECT_AFTER_MS = 1_000;
const TIMEOUT_MS = 8_000;

/** Reports changes of a tenant's orders to `listener`, each once and in order, across lost connections. */
export function follow(tenantId: string, listener: Listener): void {
  const badge = document.getElementById('live');
  if (badge !== null) badge.textContent = 'Connecting';
  let offset: string | undefined;
  const socket = io({
    path: `${BASE}/ws`,
    transports: ['websocket', 'polling'],
    tryAllTransports: true,
    timeout: TIMEOUT_MS,
    auth: (send) => send({ tenantId, serverOffset: offset }),
    reconnectionDelay: 250,
    reconnectionDelayMax: 4_000,
  });

  socket.on('connected', (_: unknown, place: Place) => {
    // The page was rendered a little earlier, and no event will report changes made since.
    if (offset === undefined) listener.missed();
    offset = place.offset;
    show({ connected: true });
  });
  socket.on('feed.reset', (_: unknown, place: Place) => {
    offset = place.offset;
    listener.missed();
  });
  socket.on('order.created', (change: Change, place: Place) => {
    offset = place.offset;
    listener.created(change);
  });
  socket.on('order.updated', (change: Change, place: Place) => {
    offset = place.offset;
    listener.updated(change);
  });

  const lost = () => {
    show({ connected: false });
    // A proxy that swallows WebSockets does not even refuse them: the next attempt begins with the other transport.
    if (!socket.io.engine?.id) socket.io.opts.transports?.reverse();
    // After a disconnect by the server, the client does not reconnect by itself.
    if (!socket.active) setTimeout(() => socket.connect(), RECONNECT_AFTER_MS);
  };
  socket.on('disconnect', lost);
  socket.on('connect_error', (error) => {
    // Polling knows the status of an answer; a WebSocket does not, and polling has its turn.
    if (isLoggedOut((error as { description?: unknown }).description)) leave();
    lost();
  });
}

/** The state that the badge shows; `connected` is unknown at first. */
const known: { connected?: boolean; behind: boolean } = { behind: false };

/** Shows whether the page is connected, and whether it is behind: an event came, but the page could not be fetched. */
export function show(news: Partial<typeof known>): void {
  Object.assign(known, news);
  const badge = document.getElementById('live');
  if (badge === null || known.connected === undefined) return;
  const state = !known.connected ? 'lost' : known.behind ? 'behind' : 'live';
  const before = badge.dataset['state'];
  if (before === state) return;
  badge.dataset['state'] = state;
  badge.textContent = { lost: 'Reconnecting', behind: 'Behind', live: 'Live' }[state];
  // Live is the normal state: announce it only after an interruption.
  if (state === 'live' && before !== 'connecting') announce('Live updates are back');
  if (state !== 'live' && (before === 'live' || before === 'connecting')) announce('Live updates are interrupted');
}

/** Has a screen reader say `text` once it has finished speaking. */
export function announce(text: string): void {
  const announcer = document.getElementById('announcer');
  if (announcer !== null) announcer.textContent = text;
}
