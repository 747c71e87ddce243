// The refresh token has ended: the visitor logs in again, which the provider does on its own while it remembers them.

import assert from 'node:assert/strict';

import { PROVIDER, WEB, expect, logIn, run } from './support.mjs';

await run(async (visitors) => {
  // Without the script, which would notice too, and show that its visitor is logged out.
  const page = await visitors.page('/orders?tenantId=t-123', { javaScriptEnabled: false });
  await logIn(page, 'alice');
  const logins = [];
  page.on('request', (request) => { if (request.url().startsWith(`${PROVIDER}/auth`)) logins.push(request.url()); });
  await expect(async () => {
    await page.goto('/orders?tenantId=t-123&status=PENDING');
    await page.waitForURL(`${WEB}/orders?tenantId=t-123&status=PENDING`);
    assert(logins.length > 0, 'the tokens still count');
  }).toPass({ timeout: 60_000 });
  await expect(page.locator('header')).toContainText('alice');
});
