// The form for a new order: what is wrong is told, and whatever happens it makes one order.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';

import { ABORTED, WEB, answered, expect, fill, listed, live, requests, row, run, submit } from './support.mjs';

await run(async (visitors) => {
  const page = await visitors.page('/orders/new?tenantId=t-1');
  const posts = requests(page, 'POST', '/api/orders');

  // What the API refuses is told next to each field, and what was typed is kept.
  await page.getByLabel('E-mail').fill('nobody');
  await page.getByLabel('Name').fill('Alice <b>&');
  await page.getByRole('button', { name: 'Add a line' }).click();
  await expect(page.getByLabel('Article').nth(1)).toBeFocused();
  await page.getByLabel('Article').nth(1).fill('SKU-2');
  await page.getByLabel('Quantity').nth(1).fill('0');
  await page.getByLabel('Price').nth(1).fill('9,999');
  await visitors.provoke([answered(400)], () => submit(page));
  const error = (name) => page.locator(`[id="${name}-error"]`);
  await expect(error('buyer/email')).toHaveText('Enter an e-mail address');
  await expect(error('items/0/sku')).toHaveText('Enter an article');
  await expect(error('items/0/qty')).toHaveText('Enter a whole number');
  await expect(error('items/1/qty')).toHaveText('must not be less than 1');
  await expect(error('items/1/price')).toHaveText('Enter a price, such as 1234.50 or 1234,50');
  await expect(error('buyer/name')).toBeEmpty();
  await expect(page.getByLabel('E-mail')).toHaveAttribute('aria-invalid', 'true');
  await expect(page.locator('#summary')).toBeFocused();
  await page.getByRole('link', { name: 'Line 2: enter a price, such as 1234.50 or 1234,50' }).click();
  await expect(page.getByLabel('Price').nth(1)).toBeFocused();
  await expect(page.getByLabel('Name')).toHaveValue('Alice <b>&');
  await expect(page.getByLabel('Price').nth(1)).toHaveValue('9,999');
  assert.deepEqual(await listed('t-1'), []);

  // Lines: the first goes, the second takes its place.
  await page.getByRole('button', { name: 'Remove line 1' }).click();
  await expect(page.getByLabel('Article')).toHaveValue('SKU-2');
  await expect(page.getByLabel('Article')).toBeFocused();
  await expect(page.getByRole('button', { name: 'Remove line 1' })).toBeHidden();
  await page.getByLabel('E-mail').fill('alice@example.com');
  await page.getByLabel('Quantity').fill('3');
  // The decimal comma of a phone that has no point.
  await page.getByLabel('Price').fill('9,99');
  await expect(page.getByText('Total 29.97', { exact: true })).toBeVisible();
  await expect(page.locator('.line .amount')).toHaveText('29.97');
  for (const [typed, shown] of [['jpy', '29.97 JPY'], ['e', '29.97'], ['EUR', '29.97 EUR']]) {
    await page.getByLabel('Currency').fill(typed);
    await expect(page.getByText(`Total ${shown}`, { exact: true })).toBeVisible();
  }
  await page.getByLabel('Currency').fill('');

  // The answer gets lost after the order was made: said, sent again, still one order.
  await page.route('**/api/orders', async (route) => {
    await route.fetch();
    await route.abort();
  }, { times: 1 });
  await visitors.provoke([ABORTED], () => submit(page));
  await expect(page.locator('#summary')).toContainText('you will not create a second order');
  assert.equal((await listed('t-1')).length, 1);
  // Other values cannot become another order unnoticed.
  await page.getByLabel('Quantity').fill('4');
  await submit(page);
  await expect(page.locator('#summary')).toContainText('has already created order');
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

  // Prices are sent digit by digit, as typed.
  await page.goto('/orders/new?tenantId=t-2');
  await fill(page);
  await page.getByLabel('Quantity').fill('1');
  await page.getByLabel('Price').fill('123456789,123456');
  await expect(page.getByText('Total –', { exact: true })).toBeVisible();
  await page.getByLabel('Price').fill('123456789.123456');
  posts.length = 0;
  await submit(page);
  await page.waitForURL(/\/orders\?/);
  assert(posts[0].postData().includes('"price":123456789.123456}'), posts[0].postData());
  await expect(page.locator('tbody .total')).toHaveText('123456789.123456');

  // With a currency, which is one that exists, in capital letters or not.
  await page.goto('/orders/new?tenantId=t-2');
  await fill(page);
  await page.getByLabel('Price').fill('0.5');
  await page.getByLabel('Currency').fill('xyz');
  await visitors.provoke([answered(400)], () => submit(page));
  await expect(error('currency')).toHaveText('Enter the code of a currency, such as EUR');
  await page.getByLabel('Currency').fill(' kwd');
  await submit(page);
  await page.waitForURL(/\/orders\?/);
  await expect(page.locator('tbody .total').first()).toHaveText('1.000 KWD');

  // A domain that Chromium sends in ASCII is shown as people write it, and found as they write it.
  await page.goto('/orders/new?tenantId=t-5');
  await fill(page);
  await page.getByLabel('E-mail').fill('alice@bücher.example');
  await submit(page);
  await page.waitForURL(/\/orders\?/);
  await expect(page.locator('tbody .buyer')).toHaveText('Alice alice@bücher.example');
  await page.getByLabel('Buyer').fill('alice@bücher.example');
  await page.getByRole('button', { name: 'Filter' }).click();
  await page.waitForURL(/buyerEmail=/);
  await expect(page.locator('tbody .buyer')).toHaveText('Alice alice@bücher.example');
  await page.locator('tbody a').click();
  await expect(page.locator('dd').first()).toContainText('alice@bücher.example');

  // A form has an end.
  await page.goto('/orders/new?tenantId=t-5');
  await page.evaluate(() => { document.getElementById('lines').dataset.max = '2'; });
  for (let n = 0; n < 3; n += 1) await page.getByRole('button', { name: 'Add a line' }).click();
  await expect(page.getByText('This form takes at most 2 lines.')).toBeVisible();
  await expect(page.getByLabel('Article')).toHaveCount(2);

  // A page of another site gets nowhere, neither with forms nor with the API.
  const evil = createServer((_, answer) => answer.setHeader('content-type', 'text/html').end('<!doctype html><p>Hello'));
  await once(evil.listen(0, '127.0.0.1'), 'listening');
  const origin = `http://127.0.0.1:${evil.address().port}`;
  const body = { requestId: 'evil', tenantId: 't-3', buyer: { email: 'a@b.de', name: 'A' }, items: [{ sku: 'S', qty: 1, price: 1 }] };
  const complaints = [new RegExp(`^request to ${origin}$`), /^Access to fetch at .* blocked by CORS policy/, ABORTED, answered(403), answered(415)];
  await visitors.provoke(complaints, async () => {
    const foreign = await visitors.page(origin);
    const outcomes = await foreign.evaluate(async ([web, json]) => {
      const post = (path, type, mode) => fetch(web + path, { method: 'POST', mode, headers: { 'content-type': type }, body: json })
        .then((answer) => answer.type, () => 'refused');
      return [
        await post('/api/orders', 'application/json', 'cors'),
        // Sent without a question beforehand, and so not as JSON.
        await post('/api/orders', 'text/plain', 'no-cors'),
      ];
    }, [WEB, JSON.stringify(body)]);
    assert.deepEqual(outcomes, ['refused', 'opaque']);
    await foreign.evaluate((web) => {
      document.body.innerHTML = `<form method="post" action="${web}/orders/new"><input name="tenantId" value="t-3">
        <input name="requestId" value="evil"><input name="buyer/email" value="a@b.de"><input name="buyer/name" value="A">
        <input name="items/0/sku" value="S"><input name="items/0/qty" value="1"><input name="items/0/price" value="1"></form>`;
      document.forms[0].submit();
    }, WEB);
    await expect(foreign.getByText('This form was sent from another site.')).toBeVisible();
  });
  evil.close();
  assert.deepEqual(await listed('t-3'), []);

  // A script that does not come: the form says what it cannot do, instead of dropping the file.
  const bare = await (await visitors.visitor()).newPage();
  await bare.route('**/assets/client-*', (route) => route.abort());
  await visitors.provoke([ABORTED], async () => {
    await bare.goto('/orders/new?tenantId=t-4');
    await expect(bare.getByLabel('Attachment')).toBeDisabled();
    await fill(bare);
    await submit(bare);
    await bare.waitForURL(/\/orders\?/);
    await expect(live(bare)).toBeHidden();
  });
  assert.equal((await listed('t-4')).length, 1);
});
