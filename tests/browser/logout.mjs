// The end of a session: by its visitor, and by the provider. The live updates of all its pages end with it.

import assert from 'node:assert/strict';

import { PROVIDER, WEB, answered, expect, fill, live, logIn, requests, run, session } from './support.mjs';

/** What an open page says when its live updates are closed: neither transport gets through. */
const closed = [answered(401), /^WebSocket connection to .* failed/];
const loggedOut = (page) => page.getByText('You are logged out.');
const button = (page) => page.getByRole('button', { name: 'Log out' });

await run(async (visitors) => {
  // As soon as a visitor logs out on one page, others show nothing more. They do not log in on their own, which they
  // could as long as the provider remembers the visitor.
  const context = await visitors.visitor();
  const [list, other] = [await context.newPage(), await context.newPage()];
  await list.goto('/orders?tenantId=t-123');
  await logIn(list, 'alice');
  await expect(live(list)).toHaveText('Live');
  await other.goto('/orders?tenantId=t-123');
  await other.evaluate(() => { sessionStorage.setItem('left', 'behind'); localStorage.setItem('left', 'behind'); });
  const before = (await session(context)).map(({ name, value }) => `${name}=${value}`).join('; ');
  const followed = await fetch(`${WEB}/api/orders/events?tenantId=t-123`, { headers: { cookie: before } });
  assert.equal(followed.status, 200);
  await visitors.provoke(closed, async () => {
    await button(other).click();
    await other.waitForURL(`${PROVIDER}/session/end**`);
    await expect(loggedOut(list)).toBeVisible();
  });
  // A stream ends as an answer does.
  assert.match(await followed.text(), /^id: /);
  await button(other).click();
  await other.waitForURL(`${WEB}/logout`);
  await expect(loggedOut(other)).toBeVisible();
  assert.deepEqual(await session(context), []);
  assert.deepEqual(await other.evaluate(() => [sessionStorage.getItem('left'), localStorage.getItem('left')]), [null, null]);
  // The old cookie counts no more, whoever has kept it.
  const kept = await fetch(`${WEB}/api/orders?tenantId=t-123`, { headers: { cookie: before } });
  assert.equal(kept.status, 401);

  // The way back leads to where it broke off.
  await list.getByRole('link', { name: 'Log in' }).click();
  await logIn(list, 'alice');
  await list.waitForURL(`${WEB}/orders?tenantId=t-123`);
  await expect(live(list)).toHaveText('Live');

  // The provider ends the session under a form. What was typed stays, and is sent after a login in another tab.
  await other.goto('/orders/new?tenantId=t-123');
  await fill(other);
  const third = await context.newPage();
  await visitors.provoke(closed, async () => {
    await third.goto(`${PROVIDER}/session/end`);
    await button(third).click();
    await third.waitForURL(`${PROVIDER}/session/end/success**`);
    await expect(loggedOut(list)).toBeVisible();
  });
  await visitors.provoke([answered(401)], () => other.locator('#create').click());
  const link = other.locator('#summary').getByRole('link', { name: 'You are no longer logged in' });
  const [login] = await Promise.all([context.waitForEvent('page'), link.click()]);
  await logIn(login, 'alice');
  await expect(live(login)).toHaveText('Live');
  const orders = requests(other, 'POST', '/api/orders');
  await other.locator('#create').click();
  await other.waitForURL('**/orders?tenantId=t-123&created=*');
  assert.equal(orders.length, 1);

  // Another session of the same visitor, in another browser, does not end.
  const elsewhere = await visitors.page('/orders?tenantId=t-123');
  await logIn(elsewhere, 'alice');
  await expect(live(elsewhere)).toHaveText('Live');
  await visitors.provoke(closed, async () => {
    await button(other).click();
    await other.waitForURL(`${PROVIDER}/session/end**`);
    await expect(loggedOut(login)).toBeVisible();
  });
  await button(other).click();
  await other.waitForURL(`${WEB}/logout`);
  await elsewhere.reload();
  await expect(live(elsewhere)).toHaveText('Live');
});
