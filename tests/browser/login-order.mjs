// The seed's flow of somebody who has logged in: presign, PUT, POST; and the live updates.

import assert from 'node:assert/strict';

import { EDGE, WEB, create, expect, fill, isMarked, listed, live, logIn, mark, run, status, submit } from './support.mjs';

await run(async (visitors) => {
  const page = await visitors.page('/orders/new?tenantId=t-123');
  const [steps, sent] = [[], []];
  page.on('request', (request) => {
    const { origin, pathname } = new URL(request.url());
    if (!['POST', 'PUT'].includes(request.method()) || origin === process.env.PROVIDER_URL) return;
    steps.push([request.method(), origin, pathname.split('/')[1]].join(' '));
    sent.push(request);
  });
  await logIn(page, 'alice');
  await page.waitForURL('**/orders/new?tenantId=t-123');
  await fill(page);
  await page.getByLabel('Attachment').setInputFiles({ name: 'a.pdf', mimeType: 'application/pdf', buffer: Buffer.from('a') });
  await submit(page);
  await page.waitForURL(/\/orders\?/);
  assert.deepEqual(steps, [`POST ${WEB} api`, `PUT ${EDGE} mock-upload`, `POST ${WEB} api`]);
  // The cookie goes to this site alone, and the page has no token to send.
  const headers = await Promise.all(sent.map((request) => request.allHeaders()));
  assert.deepEqual(headers.map(({ cookie }) => cookie !== undefined), [true, false, true]);
  assert(headers.every(({ authorization }) => authorization === undefined));
  const [order] = await listed('t-123');
  assert.equal(order.attachment.filename, 'a.pdf');

  // It is paid, and another one comes, without a reload.
  await expect(live(page)).toHaveText('Live');
  await mark(page);
  await expect(status(page, order.orderId)).toHaveText('PAID');
  const id = await create('t-123', 'r2');
  await expect(status(page, id)).toHaveText('PAID');
  assert(await isMarked(page));
});
