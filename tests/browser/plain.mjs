// With JavaScript off, everything but the upload and the live updates.

import assert from 'node:assert/strict';

import { answered, create, expect, fill, listed, live, run, stack, status, submit } from './support.mjs';

await run(async (visitors) => {
  const page = await visitors.page('/orders?tenantId=t-1', { javaScriptEnabled: false });
  // Not by getByText, which does not look into noscript.
  await expect(page.locator('header noscript p')).toHaveText('Not live: JavaScript is off');
  await expect(page.locator('header noscript p')).toBeVisible();
  await expect(live(page)).toBeHidden();
  await page.getByRole('link', { name: 'New order' }).last().click();
  await expect(page.getByLabel('Attachment')).toBeHidden();
  await expect(page.locator('form noscript p')).toHaveText('An attachment needs JavaScript.');

  // Lines are added and removed by the server; what is wrong is told, what was typed is kept.
  await page.getByLabel('E-mail').fill('nobody');
  await page.getByLabel('Article').fill('SKU-1');
  await page.getByRole('button', { name: 'Add a line' }).click();
  await expect(page.getByLabel('Article')).toHaveCount(2);
  await expect(page.getByLabel('E-mail')).toHaveValue('nobody');
  await page.getByLabel('Article').nth(1).fill('"><script>alert(1)</script>');
  await page.getByRole('button', { name: 'Remove line 1' }).click();
  await expect(page.getByLabel('Article')).toHaveValue('"><script>alert(1)</script>');
  await page.getByLabel('Quantity').fill('two');
  // Could be either, so it is neither.
  await page.getByLabel('Price').fill('1.234,50');
  await page.getByLabel('Currency').fill('euros');
  await visitors.provoke([answered(400)], () => page.getByLabel('Quantity').press('Enter'));
  await expect(page.getByRole('alert')).toContainText('Enter an e-mail address');
  await expect(page.locator('[id="items/0/qty-error"]')).toHaveText('Enter a whole number');
  await expect(page.getByLabel('Quantity')).toHaveValue('two');
  await expect(page.locator('[id="items/0/price-error"]')).toHaveText('Enter a price, such as 1234.50 or 1234,50');
  await expect(page.getByLabel('Price')).toHaveValue('1.234,50');
  await expect(page.locator('#currency-error')).toHaveText('Enter the code of a currency, such as EUR');
  await expect(page.getByText('Total –', { exact: true })).toBeVisible();
  // Totals are told with the next page.
  await page.getByLabel('Currency').fill('eur');
  await page.getByLabel('Quantity').fill('3');
  await page.getByLabel('Price').fill('0,1');
  await page.getByRole('button', { name: 'Add a line' }).click();
  await expect(page.locator('.line .amount')).toHaveText(['0.30', '–']);
  await page.getByRole('button', { name: 'Remove line 2' }).click();
  await expect(page.getByText('Total 0.30 EUR', { exact: true })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Remove line 1' })).toBeHidden();
  assert.deepEqual(await listed('t-1'), []);

  // The same form sent twice is one order. Its price has a comma, as a phone may have no point.
  await fill(page);
  await page.getByLabel('Price').fill('49,99');
  const form = Object.fromEntries(await page.locator('#order input[name]').evaluateAll((inputs) => (
    inputs.map((input) => [input.name, input.value])
  )));
  const again = () => page.request.post('/orders/new', { form, maxRedirects: 0 });
  const first = await again();
  assert.equal(first.status(), 303);
  await submit(page);
  await page.waitForURL(/\/orders\?/);
  const [order, ...others] = await listed('t-1');
  assert.deepEqual(others, []);
  assert.equal(order.total, 99.98);
  assert(first.headers().location.endsWith(order.orderId), first.headers().location);
  await expect(page.getByText(`Order created: ${order.orderId}`)).toBeVisible();
  await expect(status(page, order.orderId)).toHaveText('PENDING');
  // And with other values, it is said rather than hidden.
  const other = await page.request.post('/orders/new', { form: { ...form, 'items/0/qty': '7' } });
  assert.equal(other.status(), 409);
  assert((await other.text()).includes(`has already created order ${order.orderId}`));

  // One order, cancelled; and one that can no longer be.
  await expect(page.locator(`[id="${order.orderId}"] .total`)).toHaveText('99.98 EUR');
  await page.getByRole('link', { name: order.orderId }).last().click();
  await expect(page.locator('.lines tbody tr')).toHaveText(/SKU-1\s*2\s*49\.99\s*99\.98/);
  await expect(page.getByRole('button', { name: 'Print' })).toBeHidden();
  // It asks first.
  const cancel = page.locator('summary').filter({ hasText: 'Cancel the order' });
  const confirm = page.getByRole('button', { name: 'Yes, cancel it' });
  await expect(confirm).toBeHidden();
  await cancel.click();
  await confirm.click();
  await expect(page.locator('.status')).toHaveText('CANCELLED');
  await expect(page.locator('.history li')).toHaveText([/^Placed \d{4}-.* UTC$/, /^Cancelled \d{4}-.* UTC$/]);
  assert.equal(await cancel.count(), 0);
  const paid = await create('t-1', 'r1');
  await page.goto(`/orders/${paid}?tenantId=t-1`);
  await stack('pay after 100ms');
  await expect(async () => {
    assert.equal((await listed('t-1'))[0].status, 'PAID');
  }).toPass({ timeout: 60_000 });
  await cancel.click();
  await visitors.provoke([answered(409)], () => confirm.click());
  await expect(page.getByRole('alert')).toContainText('is PAID and cannot be cancelled');
  await expect(page.locator('.status')).toHaveText('PAID');
  // The address of that answer, loaded again, is the order's page.
  // Whatever the last tenant is by then.
  await (await page.context().newPage()).goto('/orders?tenantId=t-2');
  await page.goto(page.url());
  await page.waitForURL(`**/orders/${paid}?tenantId=t-1`);
  await expect(page.locator('.status')).toHaveText('PAID');
  await visitors.provoke([answered(404)], () => page.goto(`/orders/${paid}?tenantId=t-2`));
  await expect(page.getByText('t-2 has no such order')).toBeVisible();
  await visitors.provoke([answered(404)], () => page.goto('/orders/x?tenantId=t-2'));
  await page.getByRole('link', { name: 'All orders' }).click();
  await page.waitForURL('**/orders?tenantId=t-2');
});
