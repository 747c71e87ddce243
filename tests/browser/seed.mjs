// The seed's test flow and smoke test B, in two tabs of one tenant and one of another.

import assert from 'node:assert/strict';

import { create, expect, fill, isMarked, listed, live, mark, row, run, status, submit } from './support.mjs';

await run(async (visitors) => {
  const [tab, second, other] = [
    await visitors.page('/orders'),
    await visitors.page('/orders?tenantId=t-123'),
    await (await visitors.visitor()).newPage(),
  ];
  const frames = [];
  other.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => frames.push(String(payload))));
  await other.goto('/orders?tenantId=t-456');
  for (const page of [tab, second, other]) {
    await expect(live(page)).toHaveText('Live');
    await expect(page.getByText('There are no orders yet.')).toBeVisible();
  }
  await mark(second);
  await mark(other);

  // Test flow: fill in, upload, create, be sent to the list, see PENDING and then PAID without a reload.
  await tab.goto('/orders/new');
  await fill(tab);
  await tab.locator('#attachment').setInputFiles({
    name: 'invoice.pdf',
    mimeType: 'application/pdf',
    buffer: Buffer.from('hello\n'),
  });
  const posted = Date.now();
  await submit(tab);
  await tab.waitForURL(/\/orders\?tenantId=t-123/);
  await mark(tab);
  const [{ orderId: id }] = await listed('t-123');
  await expect(status(tab, id)).toHaveText('PENDING');
  await expect(row(tab, id)).toContainText('alice@example.com');
  await expect(row(tab, id)).toContainText('99.98');
  await expect(row(tab, id)).toContainText('invoice.pdf');
  await expect(tab.getByRole('status').filter({ hasText: `Order created: ${id}` })).toBeVisible();
  await expect(status(second, id)).toHaveText('PENDING');
  await expect(status(tab, id)).toHaveText('PAID');
  const waited = Date.now() - posted;
  assert(waited >= 5_000, `paid after ${waited} ms`);
  await expect(status(second, id)).toHaveText('PAID');
  // Who cannot see it is told.
  await expect(tab.locator('#announcer')).toContainText(`Order ${id} is PAID`);

  // Smoke test B: an order of another client appears and flips.
  const theirs = await create('t-123', 'r2');
  for (const page of [tab, second]) await expect(status(page, theirs)).toHaveText('PENDING');
  assert.deepEqual(
    await tab.locator('tbody tr').evaluateAll((rows) => rows.map((row) => row.id)),
    [theirs, id],
    'newest first',
  );
  for (const page of [tab, second]) await expect(status(page, theirs)).toHaveText('PAID');

  // The other tenant has seen none of it, on the page or on the wire, but sees its own.
  const own = await create('t-456', 'r1');
  await expect(status(other, own)).toHaveText('PENDING');
  assert.equal(await other.locator('tbody tr').count(), 1);
  assert(frames.some((frame) => frame.includes(own)), 'the frames are seen');
  for (const leaked of [id, theirs]) assert(!frames.some((frame) => frame.includes(leaked)), frames.join('\n'));
  for (const page of [tab, second, other]) assert(await isMarked(page), 'no page was reloaded');
  assert.equal(await row(second, own).count(), 0);
});
