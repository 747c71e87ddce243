// Uploading a file: presign, PUT with progress, POST; and what becomes of it when something fails.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';

import { ABORTED, EDGE, answered, expect, fill, listed, requests, run, submit } from './support.mjs';

await run(async (visitors) => {
  const page = await visitors.page('/orders/new?tenantId=t-1');
  const steps = [];
  page.on('request', (request) => {
    const { origin, pathname } = new URL(request.url());
    if (['POST', 'PUT'].includes(request.method())) steps.push([request.method(), origin, pathname.split('/')[1]].join(' '));
  });

  // 24 MB at 12 MB/s: slow enough to be seen.
  const file = `${process.env.FOLDER}/scan.tiff`;
  writeFileSync(file, Buffer.alloc(24 << 20));
  const network = await page.context().newCDPSession(page);
  await network.send('Network.enable');
  await network.send('Network.emulateNetworkConditions', {
    offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 12 << 20,
  });
  await page.evaluate(() => {
    window.seen = [];
    const [bar, text] = [document.querySelector('progress'), document.getElementById('sending')];
    new MutationObserver(() => window.seen.push([bar.hidden, bar.value, text.textContent])).observe(bar, { attributes: true });
    addEventListener('beforeunload', () => sessionStorage.setItem('seen', JSON.stringify(window.seen)));
  });
  await fill(page);
  await page.getByLabel('Attachment').setInputFiles(file);
  await submit(page);
  await expect(page.getByText(/Uploading \u2068scan\.tiff\u2069: (0|25|50|75) %/)).toBeVisible();
  // What is being sent cannot be changed.
  for (const field of ['Quantity', 'Attachment']) await expect(page.getByLabel(field)).toBeDisabled();
  await page.waitForURL(/\/orders\?/);
  assert.deepEqual(steps, [
    `POST ${process.env.WEB_URL} api`,
    `PUT ${EDGE} mock-upload`,
    `POST ${process.env.WEB_URL} api`,
  ]);
  const seen = JSON.parse(await page.evaluate(() => sessionStorage.getItem('seen')));
  const said = new Set(seen.map(([, , text]) => text));
  assert(said.size <= 6, [...said].join('; '));
  const values = seen.map(([, value]) => value);
  assert(values.filter((value) => value > 0 && value < 1).length >= 3, JSON.stringify(seen));
  assert.deepEqual(values, values.toSorted((a, b) => a - b), 'it only grows');
  const [order] = await listed('t-1');
  assert.equal(order.attachment.filename, 'scan.tiff');
  assert.match(order.attachment.storageKey, /^tenants\/t-1\/orders\/[0-9a-f]{8}\/scan\.tiff$/);
  await page.getByRole('link', { name: order.orderId }).last().click();
  await expect(page.getByText('scan.tiff')).toBeVisible();
  await network.send('Network.emulateNetworkConditions', {
    offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: -1,
  });

  // The upload fails: told at the file, and nothing is ordered.
  await page.goto('/orders/new?tenantId=t-1');
  const puts = requests(page, 'PUT', '/mock-upload/');
  await fill(page);
  const error = page.locator('#attachment-error');
  await page.getByLabel('Attachment').setInputFiles({ name: 'a.pdf', mimeType: 'application/pdf', buffer: Buffer.from('a') });
  const failures = [
    [ABORTED, 'does not answer, or takes no files from this page', (route) => route.abort()],
    [answered(500), 'answered 500', (route) => route.fulfill({ status: 500 })],
  ];
  for (const [text, why, fail] of failures) {
    await page.route('**/mock-upload/**', fail, { times: 1 });
    await visitors.provoke([text], () => submit(page));
    await expect(page.locator('#summary')).toBeFocused();
    await expect(error).toHaveText(`The attachment could not be uploaded: ${EDGE} ${why}. Try again.`);
    await expect(page.locator('#summary li')).toHaveText(await error.textContent());
  }
  assert.equal((await listed('t-1')).length, 1);

  // The order is refused after the upload: sent again with the file that is there, not with another copy.
  puts.length = 0;
  await page.getByLabel('Quantity').fill('');
  await visitors.provoke([answered(400)], () => submit(page));
  await expect(page.locator('[id="items/0/qty-error"]')).not.toBeEmpty();
  await expect(error).toBeEmpty();
  await page.getByLabel('Quantity').fill('1');
  await submit(page);
  await page.waitForURL(/\/orders\?/);
  assert.equal(puts.length, 1);
  assert.equal((await listed('t-1'))[0].attachment.filename, 'a.pdf');

  // A place that the page's policy does not allow: the page says which one it allows, and asks no other.
  await page.goto('/orders/new?tenantId=t-1');
  await fill(page);
  await page.getByLabel('Attachment').setInputFiles({ name: 'a.pdf', mimeType: 'application/pdf', buffer: Buffer.from('a') });
  const elsewhere = { url: 'https://files.example/a.pdf?signature=1', storageKey: 'k', headers: {} };
  await page.route('**/api/uploads/presign', (route) => route.fulfill({ status: 201, json: elsewhere }), { times: 1 });
  await submit(page);
  await expect(error).toHaveText(
    `The attachment cannot be uploaded: it has to go to https://files.example, but this page may send files only to ${EDGE}. `
    + 'Whoever runs this site can set ORDERS_UPLOAD_ORIGIN.',
  );

  // A place that is none is told, too, and the form can be used again.
  await page.goto('/orders/new?tenantId=t-1');
  await fill(page);
  await page.getByLabel('Attachment').setInputFiles({ name: 'a.pdf', mimeType: 'application/pdf', buffer: Buffer.from('a') });
  await page.route('**/api/uploads/presign', (route) => route.fulfill({ status: 201, json: { url: 'http://[', storageKey: 'k', headers: {} } }), { times: 1 });
  await visitors.provoke([/^TypeError: /], () => submit(page));
  await expect(page.locator('#summary')).toContainText('because of a problem on our side');
  await submit(page);
  await page.waitForURL(/\/orders\?/);

  // What the presign refuses is told at the file.
  await page.goto('/orders/new?tenantId=t-1');
  await fill(page);
  await page.getByLabel('Attachment').setInputFiles({ name: '...', mimeType: 'application/pdf', buffer: Buffer.from('a') });
  await visitors.provoke([answered(400)], () => submit(page));
  await expect(error).toHaveText('Its name must be a file name');
  await expect(page.getByRole('link', { name: 'Attachment: its name must be a file name' })).toBeVisible();
});
