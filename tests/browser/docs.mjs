// The docs of the edge in mode jwt: with a token, or a login at the provider, "try it" works.

import assert from 'node:assert/strict';

import { answered, expect, run } from './support.mjs';

const list = (page) => page.locator('#operations-orders-listOrders');

/** Opens the docs at the list of orders, ready to be tried. */
async function open(visitors) {
  const page = await visitors.page('/docs');
  await list(page).locator('.opblock-summary-control').click();
  await list(page).getByRole('button', { name: 'Try it out' }).click();
  return page;
}

/** Tries it. */
async function answers(page, status) {
  const answer = page.waitForResponse((response) => new URL(response.url()).pathname === '/api/orders');
  await list(page).getByRole('button', { name: 'Execute' }).click();
  assert.equal((await answer).status(), status);
  await expect(list(page).locator('.live-responses-table tr.response .response-col_status')).toContainText(`${status}`);
}

const dialog = async (page, text) => {
  await page.getByRole('button', { name: 'Authorize' }).first().click();
  return page.locator('.auth-container').filter({ hasText: text });
};
const close = (page) => page.locator('.dialog-ux').getByRole('button', { name: 'Close' }).first().click();

await run(async (visitors) => {
  const pasted = await open(visitors);
  await visitors.provoke([answered(401)], () => answers(pasted, 401));
  const token = await dialog(pasted, 'http, Bearer');
  await token.locator('input').fill(process.env.TOKEN);
  await token.getByRole('button', { name: 'Apply' }).click();
  await close(pasted);
  await answers(pasted, 200);

  const page = await open(visitors);
  const login = await dialog(page, 'authorization_code');
  const opened = page.waitForEvent('popup');
  await login.getByRole('button', { name: 'Apply' }).click();
  const popup = await opened;
  const closed = popup.waitForEvent('close');
  await popup.getByLabel('Name').fill('alice');
  await popup.getByLabel('Password').fill(process.env.PASSWORD);
  await popup.getByRole('button', { name: 'Log in' }).click();
  await closed;
  await expect(login.getByRole('button', { name: 'Remove authorization' })).toBeVisible();
  await close(page);
  await answers(page, 200);
  // Nothing of it outlives the page.
  assert.equal(await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage })), '{}');
});
