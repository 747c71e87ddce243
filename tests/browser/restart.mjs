// The edge goes away and comes back while pages are open: they say so, and catch up without a reload.

import assert from 'node:assert/strict';

import { accessible, answered, create, expect, isMarked, live, mark, run, stack, status } from './support.mjs';

const SPARE = process.env.SPARE_EDGE_URL;

await run(async (visitors) => {
  const page = await visitors.page('/orders?tenantId=t-1&limit=50');
  await expect(live(page)).toHaveText('Live');
  const before = [];
  for (let n = 0; n < 5; n += 1) before.push(await create('t-1', `before-${n}`));
  for (const id of before) await expect(status(page, id)).toHaveText('PENDING');
  await mark(page);

  // While nothing answers, the console says so.
  const late = await visitors.provoke([/^WebSocket connection to '.*' failed: /, answered(502), answered(503)], async () => {
    await stack('kill edge');
    await stack('pay after 100ms');
    await expect(live(page)).toHaveText('Reconnecting');
    await expect(page.locator('#announcer')).toHaveText('Live updates are interrupted');
    // Meanwhile: some are paid, others come by way of another edge.
    const during = [];
    for (let n = 0; n < 5; n += 1) during.push(await create('t-1', `during-${n}`, {}, SPARE));
    const late = await visitors.page('/orders?tenantId=t-1&limit=50');
    await expect(late.getByRole('alert')).toContainText('temporarily unavailable');
    await accessible(late, 'a list that cannot be had');
    await mark(late);
    const one = await visitors.page(`/orders/${before[0]}?tenantId=t-1`);
    await expect(one.getByRole('alert')).toContainText('temporarily unavailable');
    await accessible(one, 'an order that cannot be had');
    await mark(one);

    await stack('start edge');
    await expect(status(one, before[0])).toHaveText('PAID');
    assert(await isMarked(one));
    for (const shown of [page, late]) {
      await expect(live(shown)).toHaveText('Live');
      for (const id of [...before, ...during]) await expect(status(shown, id)).toHaveText('PAID');
      await expect(shown.locator('tbody tr')).toHaveCount(10);
      assert(await isMarked(shown), 'it was not reloaded');
    }
    return late;
  });
  // And goes on.
  const after = await create('t-1', 'after');
  for (const shown of [page, late]) await expect(status(shown, after)).toHaveText('PAID');

  // An answer that never comes holds up nothing for long.
  await page.route('**/orders?**', () => {}, { times: 1 });
  const hung = page.waitForRequest((request) => request.url().includes('/orders?'));
  const behind = await create('t-1', 'behind-1');
  await hung;
  const more = await create('t-1', 'behind-2');
  for (const id of [behind, more]) await expect(status(page, id)).toHaveText('PAID');

  // Connected, but the list cannot be had: the page does not pass for live, and catches up.
  const refreshes = /\/orders\?/;
  const unseen = await visitors.provoke([answered(503)], async () => {
    await page.route(refreshes, (route) => route.fulfill({ status: 503, body: '' }));
    const unseen = await create('t-1', 'unseen');
    await expect(live(page)).toHaveText('Behind');
    await page.unroute(refreshes);
    await expect(live(page)).toHaveText('Live');
    return unseen;
  });
  await expect(status(page, unseen)).toHaveText('PAID');

  // Even an error of its own does not end that.
  await page.evaluate(() => {
    const { querySelectorAll } = Element.prototype;
    Element.prototype.querySelectorAll = function (selector) {
      // What was loaded and is about to be shown is of another document.
      if (this.ownerDocument === document) return querySelectorAll.call(this, selector);
      Element.prototype.querySelectorAll = querySelectorAll;
      throw new Error('once');
    };
  });
  const next = await visitors.provoke([/^Error: once/], () => create('t-1', 'next'));
  await expect(status(page, next)).toHaveText('PAID');
  await expect(live(page)).toHaveText('Live');
  assert(await isMarked(page), 'it was not reloaded');
});
