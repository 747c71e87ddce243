// Uploading to a bucket, which has another origin than the pages: 100 MB, with progress; and getting it back.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';

import { expect, fill, listed, run, submit } from './support.mjs';

const BUCKET = process.env.BUCKET_URL;

await run(async (visitors) => {
  visitors.sites.add(BUCKET);
  const page = await visitors.page('/orders/new?tenantId=t-1');
  const puts = [];
  page.on('request', (request) => {
    if (request.method() === 'PUT') puts.push(new URL(request.url()).origin);
  });

  const content = Buffer.alloc(100_000_000, randomBytes(1_000));
  const file = `${process.env.FOLDER}/scan.tiff`;
  writeFileSync(file, content);
  const network = await page.context().newCDPSession(page);
  await network.send('Network.enable');
  await network.send('Network.emulateNetworkConditions', {
    offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 50_000_000,
  });
  await page.evaluate(() => {
    window.seen = [];
    const bar = document.querySelector('progress');
    new MutationObserver(() => window.seen.push(bar.value)).observe(bar, { attributes: true });
    addEventListener('beforeunload', () => sessionStorage.setItem('seen', JSON.stringify(window.seen)));
  });
  await fill(page);
  await page.getByLabel('Attachment').setInputFiles(file);
  await submit(page);
  await page.waitForURL(/\/orders\?/);
  assert.deepEqual(puts, [BUCKET]);
  const seen = JSON.parse(await page.evaluate(() => sessionStorage.getItem('seen')));
  assert(seen.filter((value) => value > 0 && value < 1).length >= 3, JSON.stringify(seen));
  assert.deepEqual(seen, seen.toSorted((a, b) => a - b), 'it only grows');

  // The site leads to the file, which comes back whole, and as a file.
  const [order] = await listed('t-1');
  assert.match(order.attachment.storageKey, /^tenants\/t-1\/uploads\/[0-9a-f-]{36}\/scan\.tiff$/);
  const answer = await page.request.get(`/api/orders/${order.orderId}/attachment?tenantId=t-1`);
  assert.equal(new URL(answer.url()).origin, BUCKET);
  assert.equal(answer.headers()['content-disposition'], "attachment; filename*=UTF-8''scan.tiff");
  const hash = (bytes) => createHash('sha256').update(bytes).digest('hex');
  assert.equal(hash(await answer.body()), hash(content));

  // The bucket refuses: told at the file, and nothing is ordered.
  await page.goto('/orders/new?tenantId=t-1');
  await fill(page);
  await page.getByLabel('Attachment').setInputFiles({ name: 'a.pdf', mimeType: 'application/pdf', buffer: Buffer.from('a') });
  const presigned = async (route) => {
    const response = await route.fetch();
    const json = await response.json();
    await route.fulfill({ response, json: { ...json, url: json.url.replace('X-Amz-Expires=120', 'X-Amz-Expires=121') } });
  };
  await page.route('**/api/uploads/presign', presigned, { times: 1 });
  await visitors.provoke([/status of 403/], () => submit(page));
  await expect(page.locator('#attachment-error')).toHaveText(
    `The attachment could not be uploaded: ${BUCKET} answered 403. Try again.`,
  );
  assert.equal((await listed('t-1')).length, 1);
});
