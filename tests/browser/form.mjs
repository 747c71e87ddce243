// The form for a new order: what is wrong is told, and whatever happens it makes one order.

import assert from 'node:assert/strict';

import { expect, fill, listed, requests, row, run, submit } from './support.mjs';

await run(async (visitors) => {
  visitors.expected = [/400 \(Bad Request\)/, /ERR_FAILED/, /502|503/];
  const page = await visitors.page('/orders/new?tenantId=t-1');
  const posts = requests(page, 'POST', '/api/orders');

  // What the API refuses is told next to each field, and what was typed is kept.
  await page.getByLabel('E-mail').fill('nobody');
  await page.getByLabel('Name').fill('Alice <b>&');
  await page.getByRole('button', { name: 'Add a line' }).click();
  await expect(page.getByLabel('Article').nth(1)).toBeFocused();
  await page.getByLabel('Article').nth(1).fill('SKU-2');
  await page.getByLabel('Quantity').nth(1).fill('0');
  await page.getByLabel('Price').nth(1).fill('9,99');
  await submit(page);
  const error = (name) => page.locator(`[id="${name}-error"]`);
  await expect(error('buyer/email')).toHaveText('must be an email');
  await expect(error('items/0/sku')).toHaveText('should not be empty');
  await expect(error('items/0/qty')).toHaveText('must be an integer number');
  await expect(error('items/1/qty')).toHaveText('must not be less than 1');
  await expect(error('items/1/price')).toHaveText('must be a number');
  await expect(error('buyer/name')).toBeEmpty();
  await expect(page.getByLabel('E-mail')).toHaveAttribute('aria-invalid', 'true');
  await expect(page.locator('#summary')).toBeFocused();
  await page.getByRole('link', { name: 'Line 2: Price must be a number' }).click();
  await expect(page.getByLabel('Price').nth(1)).toBeFocused();
  await expect(page.getByLabel('Name')).toHaveValue('Alice <b>&');
  await expect(page.getByLabel('Price').nth(1)).toHaveValue('9,99');
  assert.deepEqual(await listed('t-1'), []);

  // Lines: the first goes, the second takes its place.
  await page.getByRole('button', { name: 'Remove line 1' }).click();
  await expect(page.getByLabel('Article')).toHaveValue('SKU-2');
  await expect(page.getByLabel('Article')).toBeFocused();
  await expect(page.getByRole('button', { name: 'Remove line 1' })).toBeDisabled();
  await page.getByLabel('E-mail').fill('alice@example.com');
  await page.getByLabel('Quantity').fill('3');
  await page.getByLabel('Price').fill('9.99');
  await expect(page.getByText('Total 29.97')).toBeVisible();

  // The answer gets lost after the order was made: said, sent again, still one order.
  await page.route('**/api/orders', async (route) => {
    await route.fetch();
    await route.abort();
  }, { times: 1 });
  await submit(page);
  await expect(page.locator('#summary')).toContainText('it will not be ordered twice');
  assert.equal((await listed('t-1')).length, 1);
  // Other values cannot become another order unnoticed.
  await page.getByLabel('Quantity').fill('4');
  await submit(page);
  await expect(page.locator('#summary')).toContainText('has already made order');
  await page.getByLabel('Quantity').fill('3');
  await submit(page);
  await page.waitForURL(/\/orders\?/);
  const [only, ...others] = await listed('t-1');
  assert.deepEqual(others, []);
  assert.equal(only.total, 29.97);
  assert.equal(new Set(posts.map((post) => post.postDataJSON().requestId)).size, 1);

  // A double click, with an answer that takes its time.
  await page.goto('/orders/new?tenantId=t-1');
  await fill(page);
  posts.length = 0;
  await page.route('**/api/orders', async (route) => {
    await new Promise((resume) => setTimeout(resume, 500));
    await route.continue();
  });
  await page.locator('#create').dblclick();
  await page.waitForURL(/\/orders\?/);
  assert.equal(posts.length, 1);
  assert.equal((await listed('t-1')).length, 2);
  await page.unroute('**/api/orders');

  // Going back gives a form for another order.
  await page.goBack();
  await page.waitForURL(/\/orders\/new/);
  await fill(page);
  await page.getByLabel('Price').press('Enter');
  await page.waitForURL(/\/orders\?/);
  const orders = await listed('t-1');
  assert.equal(orders.length, 3);
  await expect(row(page, orders[0].orderId)).toBeVisible();

  // A form of another site gets nowhere, nor does what it sends to the API.
  const foreign = await visitors.page('/orders');
  const answers = await foreign.evaluate(async () => {
    const post = (path, type) => fetch(path, { method: 'POST', headers: { 'content-type': type }, body: 'tenantId=t-1' });
    return [(await post('/orders/new', 'application/x-www-form-urlencoded')).status];
  });
  assert.deepEqual(answers, [400], 'from the own site it is read, and refused for what it lacks');
  const crossSite = await fetch(`${process.env.WEB_URL}/orders/new`, {
    method: 'POST',
    headers: { 'sec-fetch-site': 'cross-site', origin: 'http://evil.example', 'content-type': 'application/x-www-form-urlencoded' },
    body: 'tenantId=t-1',
  });
  assert.equal(crossSite.status, 403);
});
