// An order is shown as PENDING before the list has it, and becomes the real one when it does.

import assert from 'node:assert/strict';

import {
  accessible, create, expect, fill, isMarked, listed, live, mark, row, run, stack, status, submit,
} from './support.mjs';

await run(async (visitors) => {
  const page = await visitors.page('/orders/new?tenantId=t-1');

  // The page of one order follows it: nothing is left that only a PENDING order has.
  await fill(page);
  await submit(page);
  await page.waitForURL(/\/orders\?/);
  await expect(page.getByText('Order created')).toBeVisible();
  await accessible(page, 'a created order');
  await page.locator('tbody tr a').first().click();
  const cancel = page.locator('summary').filter({ hasText: 'Cancel the order' });
  await expect(cancel).toBeVisible();
  await page.goto(`${page.url()}&cancel=accepted`);
  await expect(page.getByText('The cancellation was accepted')).toBeVisible();
  await accessible(page, 'an accepted cancellation');
  await expect(live(page)).toHaveText('Live');
  await mark(page);
  await expect(page.locator('.history li')).toHaveCount(1);
  await stack('pay after 100ms');
  await expect(page.locator('.status')).toHaveText('PAID');
  await expect(page.locator('.history li')).toHaveText([/^Placed /, /^Paid /]);
  await expect(cancel).toHaveCount(0);
  await expect(page.getByText('The cancellation was accepted')).toHaveCount(0);
  assert(await isMarked(page));
  await stack('pay after 1h');

  // A refresh does not take away what somebody is about to press.
  const asking = await (await visitors.visitor()).newPage();
  const refresh = await holdRefresh(asking, '**/orders/*');
  await asking.goto(`/orders/${await create('t-1', 'asking')}?tenantId=t-1`);
  await refresh.held;
  await asking.locator('summary').click();
  await asking.evaluate(() => { document.querySelector('article').dataset.before = ''; });
  await refresh.release();
  await expect(asking.locator('[data-before]')).toHaveCount(0);
  await expect(asking.getByRole('button', { name: 'Yes, cancel it' })).toBeVisible();

  for (const daemon of ['projector', 'writer']) {
    const before = await listed('t-1');
    await page.goto('/orders/new?tenantId=t-1');
    await stack(`kill ${daemon}`);
    const { held, release } = await holdRefresh(page);
    await fill(page);
    await submit(page);
    await page.waitForURL(/\/orders\?/);
    const id = await page.locator('tbody tr').first().getAttribute('id');
    assert.deepEqual(await listed('t-1'), before, 'the list does not have it');
    assert(!before.some((order) => order.orderId === id));
    await expect(page.getByText('will be listed in a moment')).toBeVisible();
    const optimistic = page.locator('tbody tr.optimistic');
    await expect(optimistic).toHaveCount(1);
    for (const text of ['Alice', 'alice@example.com', '1 item', '99.98']) await expect(optimistic).toContainText(text);
    await expect(status(page, id)).toHaveText('PENDING');
    await expect(live(page)).toHaveText('Live');
    await mark(page);
    // It does not so much as flicker when it becomes a listed one, though the list is a late answer from before.
    await held;
    await page.evaluate((id) => {
      window.gone = 0;
      const body = document.querySelector('tbody');
      new MutationObserver(() => { window.gone += document.getElementById(id) === null; }).observe(body, { childList: true });
    }, id);

    await stack(`start ${daemon}`);
    await expect(async () => assert.equal((await listed('t-1')).length, before.length + 1)).toPass();
    await release();
    await expect(optimistic).toHaveCount(0);
    await expect(page.getByText(`Order created: ${id}`)).toBeVisible();
    await expect(status(page, id)).toHaveText('PENDING');
    await stack('pay after 100ms');
    await expect(status(page, id)).toHaveText('PAID');
    assert(await isMarked(page), 'without a reload');
    assert.equal(await page.evaluate(() => window.gone), 0);
    assert.equal(await row(page, id).count(), 1);
    assert.equal((await listed('t-1')).length, before.length + 1);
    await stack('pay after 1h');
  }

  // Not even a reload loses it; and when it is listed behind ten others, it does not stay on top, even without events.
  await page.routeWebSocket(/\/ws\//, (socket) => socket.close());
  await page.goto('/orders/new?tenantId=t-1');
  await stack('kill projector');
  await fill(page);
  await submit(page);
  await page.waitForURL(/\/orders\?/);
  const id = await page.locator('tbody tr').first().getAttribute('id');
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await page.reload();
    await expect(row(page, id)).toHaveClass(/optimistic/);
    await accessible(page, `an order that is not listed, ${colorScheme}`);
  }
  await page.goto('/orders/new?tenantId=t-1');
  await stack('start projector');
  for (let n = 0; n < 10; n += 1) await create('t-1', `newer-${n}`);
  await expect(async () => assert((await listed('t-1')).some((order) => order.orderId === id))).toPass();
  await page.goto('/orders?tenantId=t-1');
  await expect(row(page, id)).toHaveCount(0);
  await expect(page.locator('tbody tr')).toHaveCount(10);
});

/** Holds what the server answers to the page's next refresh until it is released. */
async function holdRefresh(page, pattern = '**/orders?*') {
  let hold;
  let release;
  const held = new Promise((resume) => { hold = resume; });
  const released = new Promise((resume) => { release = resume; });
  await page.route(pattern, async (route) => {
    if (route.request().headers()['x-refresh'] === undefined) return route.continue();
    const response = await route.fetch();
    hold();
    await released;
    return route.fulfill({ response });
  });
  return {
    held,
    release: async () => {
      release();
      // The last refresh of a page that is left has nobody to be answered to.
      await page.unrouteAll({ behavior: 'wait' });
    },
  };
}
