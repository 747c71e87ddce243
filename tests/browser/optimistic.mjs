// An order is shown as PENDING before the list has it, and becomes the real one when it does.

import assert from 'node:assert/strict';

import { expect, fill, isMarked, listed, live, mark, run, stack, status, submit } from './support.mjs';

await run(async (visitors) => {
  const page = await visitors.page('/orders/new?tenantId=t-1');
  for (const [daemon, told] of [['projector', 'will be listed in a moment'], ['writer', 'will be listed in a moment']]) {
    const before = await listed('t-1');
    await page.goto('/orders/new?tenantId=t-1');
    await stack(`kill ${daemon}`);
    await fill(page);
    await submit(page);
    await page.waitForURL(/\/orders\?/);
    const id = await page.locator('tbody tr').first().getAttribute('id');
    assert.deepEqual(await listed('t-1'), before, 'the list does not have it');
    assert(!before.some((order) => order.orderId === id));
    await expect(page.getByText(told)).toBeVisible();
    const row = page.locator('tbody tr.optimistic');
    await expect(row).toHaveCount(1);
    await expect(row).toContainText('alice@example.com');
    await expect(row).toContainText('99.98');
    await expect(status(page, id)).toHaveText('PENDING');
    // Not even a reload loses it.
    await page.reload();
    await expect(status(page, id)).toHaveText('PENDING');
    await expect(live(page)).toHaveText('Live');
    await mark(page);

    await stack(`start ${daemon}`);
    await expect(row).toHaveCount(0);
    await expect(status(page, id)).toHaveText('PAID');
    assert(await isMarked(page), 'without a reload');
    assert.equal(await page.locator(`tbody tr[id="${id}"]`).count(), 1);
    assert.equal((await listed('t-1')).length, before.length + 1);
  }

  // The page of one order follows it too.
  await page.goto('/orders/new?tenantId=t-1');
  await fill(page);
  await submit(page);
  await page.waitForURL(/\/orders\?/);
  await page.locator('tbody tr a').first().click();
  await expect(page.getByRole('button', { name: 'Cancel the order' })).toBeVisible();
  await expect(live(page)).toHaveText('Live');
  await mark(page);
  await expect(page.locator('.status')).toHaveText('PAID');
  await expect(page.getByRole('button', { name: 'Cancel the order' })).toHaveCount(0);
  assert(await isMarked(page));
});
