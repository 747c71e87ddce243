// Calls of the HTTP API, on the page's own origin.

/** A faulty field: its JSON pointer (`#/items/0/qty`) and the rule it breaks. */
export interface Fault {
  pointer: string;
  detail: string;
}

interface Problem {
  detail: string;
  message: string[];
  errors: Fault[];
}

/** The API refused the request, and would refuse it again. */
export class Refused extends Error {
  readonly messages: string[];
  readonly faults: Fault[];

  constructor(problem: Partial<Problem>) {
    super(problem.detail ?? 'The request was refused');
    this.messages = problem.message ?? [this.message];
    this.faults = problem.errors ?? [];
  }
}

/** Nobody is logged in any more, so nothing was done. */
export class LoggedOut extends Error {}

/** It is unknown whether the request arrived; repeating it is safe. */
export class NoAnswer extends Error {}

const DEADLINE_MS = 20_000;

/** The path below which a proxy shows the site, such as `/shop`; this script is in its folder `assets`. */
export const BASE = new URL('..', import.meta.url).pathname.slice(0, -1);

/** Whether visitors of these pages log in. */
const HAS_LOGIN = 'login' in document.body.dataset;

/** Whether an answer of that status says that nobody is logged in any more. */
export const isLoggedOut = (status: unknown) => HAS_LOGIN && status === 401;

/** The address of the login that leads back to `path`. */
export const login = (path: string) => `${BASE}/login?${new URLSearchParams({ to: path })}`;

let isLeaving = false;

/**
 * Leaves for the page that offers the login, and leads back to this one. It does not log in by itself: a provider that
 * remembers the visitor would undo a logout in another tab, and no session would ever be idle.
 */
export function leave(): void {
  if (isLeaving) return;
  isLeaving = true;
  const here = location.pathname.slice(BASE.length) + location.search;
  location.assign(`${BASE}/logout?${new URLSearchParams({ to: here })}`);
}

/** Posts `json`; `inspect` gets the headers of a successful answer. */
export async function ask<T>(
  path: string,
  json: string,
  inspect: (headers: Headers) => void = () => {},
): Promise<T> {
  let response: Response;
  try {
    response = await fetch(`${BASE}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: json,
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    if (response.ok) {
      inspect(response.headers);
      return (await response.json()) as T;
    }
  } catch (error) {
    throw new NoAnswer('no answer', { cause: error });
  }
  if (isLoggedOut(response.status)) throw new LoggedOut('logged out');
  if (response.status >= 500 || response.status === 408) throw new NoAnswer(`answer ${response.status}`);
  throw new Refused(await response.json().catch(() => ({})));
}
