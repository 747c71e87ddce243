// Filters, paging and tenants: all in the URL, all kept up to date.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { EDGE, answered, api, create, expect, isMarked, live, mark, row, run, status } from './support.mjs';

const ids = (page) => page.locator('tbody tr').evaluateAll((rows) => rows.map((row) => row.id));
const parameters = (page) => Object.fromEntries(new URL(page.url()).searchParams);

await run(async (visitors) => {
  const orders = [];
  for (let n = 0; n < 25; n += 1) {
    orders.unshift(await create('t-1', `r${n}`, { email: n % 5 === 0 ? 'bob@example.com' : 'alice@example.com' }));
  }
  for (const id of orders.slice(0, 3)) await api(`/api/orders/${id}/cancel`, { tenantId: 't-1' });

  const page = await visitors.page('/orders?tenantId=t-1');
  assert.deepEqual(await ids(page), orders.slice(0, 10), 'newest first, ten a page');
  await expect(page.getByText('Page 1 of 3, 25 orders')).toBeVisible();
  await page.getByRole('link', { name: 'Older' }).click();
  assert.deepEqual([parameters(page).tenantId, parameters(page).page], ['t-1', '2']);
  assert.deepEqual(await ids(page), orders.slice(10, 20));
  await page.getByRole('link', { name: 'Older' }).click();
  assert.deepEqual(await ids(page), orders.slice(20));
  assert.equal(await page.getByRole('link', { name: 'Older' }).count(), 0);
  await page.getByRole('link', { name: 'Newer' }).click();
  assert.deepEqual(await ids(page), orders.slice(10, 20));

  // Filters start at the first page; what says nothing is not in the URL.
  await page.getByLabel('Status').selectOption('CANCELLED');
  await page.getByRole('button', { name: 'Filter' }).click();
  await page.waitForURL(/status=CANCELLED/);
  assert.deepEqual(parameters(page), { tenantId: 't-1', status: 'CANCELLED' });
  assert.deepEqual(await ids(page), orders.slice(0, 3));
  await expect(page.getByLabel('Status')).toHaveValue('CANCELLED');
  await page.getByLabel('Status').selectOption('All');
  await page.getByLabel('Buyer').fill('alice@example.com');
  await page.getByRole('button', { name: 'Filter' }).click();
  await page.waitForURL(/buyerEmail/);
  const perPage = page.getByRole('navigation', { name: 'Orders per page' });
  await expect(perPage.locator('[aria-current]')).toHaveText('10');
  await perPage.getByRole('link', { name: '25' }).click();
  await page.waitForURL(/limit/);
  assert.deepEqual(parameters(page), { tenantId: 't-1', buyerEmail: 'alice@example.com', limit: '25' });
  assert.equal((await ids(page)).length, 20);
  // The next search keeps it, and starts at the first page.
  await page.getByLabel('Status').selectOption('CANCELLED');
  await page.getByRole('button', { name: 'Filter' }).click();
  await page.waitForURL(/CANCELLED/);
  assert.equal(parameters(page).limit, '25');
  await page.goBack();
  assert.equal((await ids(page)).length, 20);
  await page.getByRole('link', { name: 'Clear' }).click();
  await page.waitForURL('**/orders?tenantId=t-1');
  assert.equal(await page.getByRole('link', { name: 'Clear' }).count(), 0);

  // A search by the beginning of an id or of an address, and by the id of the request.
  const search = page.getByLabel('Beginning of an order id or e-mail');
  const searched = async (text) => {
    await search.fill(text);
    await search.press('Enter');
    await page.waitForURL((url) => url.searchParams.get('q') === text);
    return ids(page);
  };
  assert.deepEqual(await searched(orders[7].slice(0, 16)), [orders[7]]);
  assert.deepEqual(await searched('Bob@'), orders.filter((_, n) => (24 - n) % 5 === 0));
  assert.deepEqual(await searched('nobody@'), []);
  await expect(page.getByText('No orders match these filters.')).toBeVisible();
  await page.goto('/orders?tenantId=t-1');
  await page.getByLabel('Request id').fill('r3');
  await page.getByRole('button', { name: 'Filter' }).click();
  await page.waitForURL(/requestId=r3/);
  assert.deepEqual(await ids(page), [orders[21]]);

  // An order leads back to the list that led to it, also after it was cancelled.
  await page.goto('/orders?tenantId=t-1&buyerEmail=alice@example.com&limit=7&page=2');
  const before = await ids(page);
  await page.getByRole('link', { name: before[2] }).click();
  await page.waitForURL(`**/orders/${before[2]}?**`);
  await page.locator('summary').filter({ hasText: 'Cancel the order' }).click();
  await page.getByRole('button', { name: 'Yes, cancel it' }).click();
  await expect(page.locator('.status')).toHaveText('CANCELLED');
  await page.getByRole('link', { name: 'All orders' }).click();
  await page.waitForURL(/buyerEmail/);
  assert.deepEqual(parameters(page), { tenantId: 't-1', buyerEmail: 'alice@example.com', page: '2', limit: '7' });
  assert.deepEqual(await ids(page), before);

  // The list as a file: all pages of it, with its filters.
  const downloading = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Export as CSV' }).click();
  const file = await downloading;
  assert.match(file.suggestedFilename(), /^orders-t-1-[-\d]{10}\.csv$/);
  const [head, ...lines] = readFileSync(await file.path(), 'utf8').trimEnd().split('\r\n');
  assert.match(head, /^orderId,status,/);
  const alices = orders.filter((_, n) => (24 - n) % 5 !== 0);
  assert.deepEqual(lines.map((line) => line.split(',')[0]), alices);

  // An id is short to look at and whole to copy; people go by the buyer first.
  await page.goto('/orders?tenantId=t-1');
  const first = row(page, orders[0]);
  await expect(first.locator('td').first()).toHaveText('Alice alice@example.com');
  await expect(first).toContainText('1 item');
  const short = first.getByRole('link', { name: orders[0] });
  assert(await short.evaluate((it) => it.scrollWidth > it.clientWidth), 'it is cut off');
  assert.equal(await short.evaluate((it) => {
    getSelection().selectAllChildren(it);
    return getSelection().toString();
  }), orders[0]);
  assert.equal(await short.getAttribute('title'), orders[0]);

  // Times are the visitor's, and say what they are in UTC; without the script they are in UTC.
  const time = async (options) => (
    (await visitors.page('/orders?tenantId=t-1', { timezoneId: 'Asia/Kolkata', ...options })).locator('tbody time').first()
  );
  const unscripted = await time({ javaScriptEnabled: false });
  const moment = await unscripted.getAttribute('datetime');
  const minutes = (offset) => new Date(Date.parse(moment) + offset * 60_000).toISOString().slice(0, 16).replace('T', ' ');
  await expect(unscripted).toHaveText(minutes(0));
  const inIndia = await time({});
  await expect(inIndia).toHaveText(minutes(330));
  await expect(inIndia).toHaveAttribute('title', `${minutes(0)} UTC`);
  for (const [it, isInUtc] of [[unscripted, true], [inIndia, false]]) {
    assert.equal(await it.page().locator('thead .utc').isVisible(), isInUtc);
  }

  const today = new Date().toISOString().slice(0, 10);
  await page.goto(`/orders?tenantId=t-1&from=${today}&to=${today}&limit=25`);
  assert.equal((await ids(page)).length, 25);
  await expect(page.getByLabel('From')).toHaveValue(today);
  await page.goto(`/orders?tenantId=t-1&to=2020-01-01`);
  await expect(page.getByText('No orders match these filters.')).toBeVisible();
  await page.goto(`/orders?tenantId=t-1&from=2020-01-01T00:00:00Z&limit=7`);
  await expect(page.getByLabel('From')).toHaveValue('2020-01-01T00:00:00Z');
  await expect(perPage.locator('[aria-current]')).toHaveText('7');
  assert.equal((await ids(page)).length, 7);
  await page.goto('/orders?tenantId=t-1&page=9');
  await expect(page.getByText('There are only 3 pages.')).toBeVisible();
  assert.equal(await page.getByText('Page 9').count(), 0);
  await page.getByRole('link', { name: 'Go to the last page' }).click();
  assert.deepEqual(await ids(page), orders.slice(20));

  // Wrong values are told next to their fields and kept.
  await visitors.provoke([answered(400)], () => (
    page.goto('/orders?tenantId=t-1&buyerEmail=nobody&from=yesterday&limit=1000&page=x')
  ));
  await expect(page.locator('#buyerEmail-error')).toHaveText('Enter an e-mail address');
  await expect(page.locator('#from-error')).toHaveText('Enter a date, such as 2025-08-26');
  await expect(page.getByLabel('Buyer')).toHaveValue('nobody');
  await expect(page.getByLabel('From')).toHaveValue('yesterday');
  const alerts = ['The number of orders per page must not be greater than 100.', 'There is no such page.'];
  assert.deepEqual((await page.getByRole('alert').allTextContents()).sort(), alerts);
  await page.getByRole('link', { name: 'clear them' }).click();
  assert.deepEqual(await ids(page), orders.slice(0, 10));

  // A list by status loses what no longer has it.
  const pending = await visitors.page('/orders?tenantId=t-2&status=PENDING');
  await expect(live(pending)).toHaveText('Live');
  await mark(pending);
  const id = await create('t-2', 'r1');
  await expect(status(pending, id)).toHaveText('PENDING');
  await api(`/api/orders/${id}/cancel`, { tenantId: 't-2' });
  await expect(pending.locator('tbody tr')).toHaveCount(0);
  assert(await isMarked(pending));

  // An order whose creation is not told appears with its next change.
  const untold = await visitors.visitor();
  const plain = await untold.newPage();
  await plain.routeWebSocket(/\/ws\//, (socket) => {
    const server = socket.connectToServer();
    server.onMessage((message) => {
      if (!String(message).includes('order.created')) socket.send(message);
    });
  });
  await plain.goto('/orders?tenantId=t-6');
  await expect(live(plain)).toHaveText('Live');
  await mark(plain);
  const unseen = await create('t-6', 'r1');
  await api(`/api/orders/${unseen}/cancel`, { tenantId: 't-6' });
  await expect(status(plain, unseen)).toHaveText('CANCELLED');
  await expect(plain.locator('#announcer')).toHaveText(`Order ${unseen} is CANCELLED`);
  assert(await isMarked(plain));

  // Tenants: the first, another, the last; and what is none.
  const visitor = await visitors.visitor();
  const tab = await visitor.newPage();
  await tab.goto('/');
  await expect(tab.getByLabel('Tenant')).toHaveValue('t-123');
  await tab.getByLabel('Tenant').fill('t-1');
  await tab.getByRole('button', { name: 'Switch' }).click();
  await tab.waitForURL('**/orders?tenantId=t-1');
  assert.deepEqual(await ids(tab), orders.slice(0, 10));
  const later = await visitor.newPage();
  await later.goto('/orders');
  await expect(later.getByLabel('Tenant')).toHaveValue('t-1');
  const [cookie] = await visitor.cookies();
  assert.deepEqual([cookie.name, cookie.value, cookie.httpOnly, cookie.sameSite], ['tenant', 't-1', true, 'Lax']);
  await visitors.provoke([answered(400)], () => later.goto('/orders?tenantId=%3Cscript%3E'));
  await expect(later.getByRole('alert')).toContainText('A tenant is');
  await expect(later.getByLabel('Tenant')).toHaveValue('<script>');
  await later.goto('/orders');
  await expect(later.getByLabel('Tenant')).toHaveValue('t-1');

  // A tab in the background that keeps itself up to date is no visit.
  await later.goto('/orders?tenantId=t-9');
  const refreshed = tab.waitForResponse((response) => response.url().includes('/orders?tenantId=t-1'));
  await create('t-1', 'while-elsewhere');
  await refreshed;
  await later.goto('/orders');
  await expect(later.getByLabel('Tenant')).toHaveValue('t-9');

  // One that nobody sees does not load anything for it, until it is seen.
  await expect(live(pending)).toHaveText('Live');
  await pending.evaluate(() => {
    window.loads = [];
    window.away = true;
    Object.defineProperty(document, 'hidden', { get: () => window.away });
    const { fetch } = window;
    window.fetch = (...request) => {
      window.loads.push(window.away);
      return fetch(...request);
    };
  });
  const beside = await visitors.page('/orders?tenantId=t-2');
  await expect(live(beside)).toHaveText('Live');
  const missed = [];
  for (let n = 0; n < 4; n += 1) {
    missed.push(await create('t-2', `unseen-${n}`));
    // The other loads as often as it may: by the last of these, this one would have, too.
    await expect(status(beside, missed.at(-1))).toHaveText('PENDING');
  }
  await pending.evaluate(() => {
    window.away = false;
    document.dispatchEvent(new Event('visibilitychange'));
  });
  for (const id of missed) await expect(status(pending, id)).toHaveText('PENDING');
  assert.deepEqual([...new Set(await pending.evaluate(() => window.loads))], [false]);

  // The API and Socket.IO are on this origin too, as the seed's rewrites have it.
  const through = await tab.evaluate(async () => (await fetch('/api/orders?tenantId=t-1')).json());
  assert.deepEqual(through, await (await fetch(`${EDGE}/api/orders?tenantId=t-1`)).json());
});
