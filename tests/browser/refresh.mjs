// The access token ends soon, so each page brings a new one: unseen by the visitor, and once, however many requests come.

import assert from 'node:assert/strict';

import { PROVIDER, expect, live, logIn, run, session } from './support.mjs';

const value = async (context) => (await session(context)).map((cookie) => cookie.value).join('');

await run(async (visitors) => {
  const context = await visitors.visitor();
  const page = await context.newPage();
  await page.goto('/orders?tenantId=t-123');
  await logIn(page, 'alice');
  await expect(live(page)).toHaveText('Live');
  const logins = [];
  context.on('request', (request) => { if (request.url().startsWith(PROVIDER)) logins.push(request.url()); });

  for (let round = 0; round < 3; round++) {
    const before = await value(context);
    await expect(async () => {
      // Many at once: a refresh token that is used twice ends the session.
      const statuses = await page.evaluate(async () => {
        const ask = () => fetch('/api/orders?tenantId=t-123');
        return (await Promise.all(Array.from({ length: 20 }, ask))).map(({ status }) => status);
      });
      assert.deepEqual(new Set(statuses), new Set([200]));
      assert.notEqual(await value(context), before, 'no new token yet');
    }).toPass({ timeout: 60_000 });
  }
  await page.reload();
  await expect(live(page)).toHaveText('Live');
  assert.deepEqual(logins, []);
});
