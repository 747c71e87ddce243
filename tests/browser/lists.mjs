// Filters, paging and tenants: all in the URL, all kept up to date.

import assert from 'node:assert/strict';

import { EDGE, answered, api, create, expect, isMarked, live, mark, run, status } from './support.mjs';

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
  assert.deepEqual(parameters(page), { tenantId: 't-1', status: 'CANCELLED', limit: '10' });
  assert.deepEqual(await ids(page), orders.slice(0, 3));
  await expect(page.getByLabel('Status')).toHaveValue('CANCELLED');
  await page.getByLabel('Status').selectOption('All');
  await page.getByLabel('Buyer').fill('alice@example.com');
  await page.getByLabel('Per page').selectOption('25');
  await page.getByRole('button', { name: 'Filter' }).click();
  await page.waitForURL(/buyerEmail/);
  assert.deepEqual(parameters(page), { tenantId: 't-1', buyerEmail: 'alice@example.com', limit: '25' });
  assert.equal((await ids(page)).length, 20);
  await page.goBack();
  assert.deepEqual(await ids(page), orders.slice(0, 3));

  const today = new Date().toISOString().slice(0, 10);
  await page.goto(`/orders?tenantId=t-1&from=${today}&to=${today}&limit=25`);
  assert.equal((await ids(page)).length, 25);
  await expect(page.getByLabel('From')).toHaveValue(today);
  await page.goto(`/orders?tenantId=t-1&to=2020-01-01`);
  await expect(page.getByText('No orders match these filters.')).toBeVisible();
  await page.goto(`/orders?tenantId=t-1&from=2020-01-01T00:00:00Z&limit=7`);
  await expect(page.getByLabel('From')).toHaveValue('2020-01-01T00:00:00Z');
  await expect(page.getByLabel('Per page')).toHaveValue('7');
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
  await expect(page.locator('#limit-error')).toHaveText('must not be greater than 100');
  await expect(page.getByRole('alert')).toHaveText('There is no such page.');
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
