// What the browser tests share. Each is a script of its own, started by `tests/it/web.rs` against a pipeline of its own.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { AxeBuilder } from '@axe-core/playwright';
import { chromium, expect as hope } from '@playwright/test';

export const WEB = process.env.WEB_URL;
export const EDGE = process.env.EDGE_URL;
/** The OpenID provider, for pages with a login: another site. */
export const PROVIDER = process.env.PROVIDER_URL;
/** The path below which a proxy shows the pages. */
export const PREFIX = process.env.PREFIX ?? '';

/** Long, because only a failing test ever waits for it. */
const LIMIT_MS = 60_000;

/** Playwright's own, with more patience: everything runs on one machine. */
export const expect = hope.configure({ timeout: LIMIT_MS });

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const answers = createInterface({ input: process.stdin });

/** Has the test do something to the pipeline: `kill edge`, `start edge`, `pay after 100ms`. */
export async function stack(command) {
  const answer = once(answers, 'line');
  console.log(`do ${command}`);
  await answer;
}

/** Runs `test` with a browser. It fails on its own, or when a page complained or went where it should not. */
export async function run(test) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });
  const visitors = new Visitors(browser);
  try {
    await test(visitors);
  } finally {
    await browser.close();
    answers.close();
  }
  assert.deepEqual(visitors.complaints, [], 'the pages complained');
}

/** What the console says of an answer that is an error. */
export const answered = (status) => (
  new RegExp(`^Failed to load resource: the server responded with a status of ${status} \\([A-Za-z ]+\\)$`)
);
/** What it says of a request that `route.abort` ends. */
export const ABORTED = /^Failed to load resource: net::ERR_FAILED$/;

class Visitors {
  #browser;
  #provoked = [];
  complaints = [];
  /** Where pages may go. */
  sites = new Set([WEB, PROVIDER]);

  constructor(browser) {
    this.#browser = browser;
  }

  /** Does `act`, in which pages have to complain of each of `texts`, and may. */
  async provoke(texts, act) {
    const provoked = texts.map((text) => ({ text, isTold: false }));
    this.#provoked.push(...provoked);
    const done = await act();
    await expect(() => {
      assert.deepEqual(provoked.filter(({ isTold }) => !isTold).map(({ text }) => text), [], 'no page complained of');
    }).toPass({ timeout: LIMIT_MS });
    this.#provoked = this.#provoked.filter((one) => !provoked.includes(one));
    return done;
  }

  #complain(text, where) {
    const provoked = this.#provoked.filter((one) => one.text.test(text));
    for (const one of provoked) one.isTold = true;
    if (provoked.length === 0) this.complaints.push(`${text} (${where})`);
  }

  /** Somebody with a browser profile of their own. */
  async visitor(options = {}) {
    const context = await this.#browser.newContext({ baseURL: WEB, viewport: { width: 1280, height: 900 }, ...options });
    context.setDefaultTimeout(LIMIT_MS);
    context.on('console', (message) => {
      // CSP violations are told here too.
      if (['error', 'warning'].includes(message.type())) this.#complain(message.text(), message.location().url);
    });
    context.on('weberror', (error) => this.#complain(error.error().message, error.error().stack));
    context.on('request', (request) => {
      const { origin, pathname } = new URL(request.url());
      const isUpload = origin === EDGE && pathname.startsWith('/mock-upload/') && ['PUT', 'OPTIONS'].includes(request.method());
      if (!this.sites.has(origin) && !isUpload) this.#complain(`request to ${origin}`, request.url());
    });
    context.on('page', (page) => page.on('websocket', (socket) => {
      if (!socket.url().startsWith(`${WEB.replace('http', 'ws')}${PREFIX}/ws/`)) this.#complain('a socket to elsewhere', socket.url());
    }));
    return context;
  }

  async page(path, options) {
    const page = await (await this.visitor(options)).newPage();
    await page.goto(path);
    return page;
  }
}

/** Calls the edge as any client would. */
export async function api(path, body, url = EDGE) {
  const authorization = process.env.TOKEN && { authorization: `Bearer ${process.env.TOKEN}` };
  const response = await fetch(`${url}${path}`, {
    headers: { ...authorization, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { method: 'POST', body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

/** Creates an order of the seed's kind and returns its id. */
export async function create(tenantId, requestId, { email = 'alice@example.com', price = 49.99 } = {}, url = EDGE) {
  const order = {
    requestId,
    tenantId,
    buyer: { email, name: 'Alice' },
    items: [{ sku: 'SKU-1', qty: 2, price }],
  };
  const { orderId } = await api('/api/orders', order, url);
  return orderId;
}

/** All orders of a tenant, as the list has them. */
export async function listed(tenantId) {
  return (await api(`/api/orders?tenantId=${tenantId}&limit=100`)).items;
}

/** Logs in at the provider, to which a page has led. */
export async function logIn(page, name) {
  await page.waitForURL(`${PROVIDER}/**`);
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Password').fill(process.env.PASSWORD);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.waitForURL(`${WEB}/orders**`);
}

/** The cookies of a session. */
export async function session(context) {
  return (await context.cookies(WEB)).filter(({ name }) => name.startsWith('__Host-Http-orders_'));
}

/** Fills the form for a new order with one line that is right. */
export async function fill(page) {
  await page.getByLabel('E-mail').fill('alice@example.com');
  await page.getByLabel('Name').fill('Alice');
  await page.getByLabel('Article').fill('SKU-1');
  await page.getByLabel('Quantity').fill('2');
  await page.getByLabel('Price').fill('49.99');
}

export const submit = (page) => page.locator('#create').click();
export const row = (page, id) => page.locator(`tr[id="${id}"]`);
export const status = (page, id) => page.locator(`[id="${id}"] .status`);
export const live = (page) => page.locator('#live');

/** Fails when axe-core finds something wrong with what a page shows now. */
export async function accessible(page, what) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const told = violations.map(({ id, help, nodes }) => `${id}: ${help}\n  ${nodes.map((node) => node.html).join('\n  ')}`);
  assert.deepEqual(told, [], what);
}

/** Marks a document, so that a reload can be told from an update. */
export const mark = (page) => page.evaluate(() => { window.marked = true; });
export const isMarked = (page) => page.evaluate(() => window.marked === true);

/** The requests that leave for `path` from now on. */
export function requests(page, method, path) {
  const seen = [];
  page.on('request', (request) => {
    if (request.method() === method && new URL(request.url()).pathname.startsWith(path)) seen.push(request);
  });
  return seen;
}
