// Logging in: from a deep link and from another site, the cookie, the tenants to choose from, and other sites' requests.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';

import { PROVIDER, WEB, accessible, answered, create, expect, listed, logIn, requests, row, run, session } from './support.mjs';

const picker = (page) => page.getByLabel('Tenant');

await run(async (visitors) => {
  const context = await visitors.visitor();
  const page = await context.newPage();
  await create('t-123', 'r1');
  await create('t-456', 'r2');

  // A wrong password, then the right one: the way leads to the page that was asked for.
  await page.goto('/orders?tenantId=t-123&status=PENDING');
  await page.getByLabel('Name').fill('alice');
  await page.getByLabel('Password').fill('wrong');
  await page.getByRole('button', { name: 'Log in' }).click();
  await expect(page.getByRole('alert')).toHaveText('Wrong name or password');
  await logIn(page, 'alice');
  await page.waitForURL(`${WEB}/orders?tenantId=t-123&status=PENDING`);
  await expect(page.locator('tbody tr')).toHaveCount(1);
  await expect(page.locator('header')).toContainText('alice');
  assert.equal(await page.locator('footer').count(), 0);
  await accessible(page, 'a page with a login');

  // The session is in a cookie that no script and no other site has; the login's own is gone.
  const cookies = await session(context);
  assert.deepEqual([...new Set(cookies.map(({ name }) => name.replace(/-\d$/, '')))], ['__Host-Http-orders_session']);
  for (const { httpOnly, secure, sameSite, path, domain } of cookies) {
    assert.deepEqual({ httpOnly, secure, sameSite, path, domain }, { httpOnly: true, secure: true, sameSite: 'Strict', path: '/', domain: 'localhost' });
  }
  assert.equal(await page.evaluate(() => document.cookie), '');
  // Nothing of a token is in a page, an answer to its script, or what a script can keep.
  const answers = [await page.content(), await page.evaluate(async () => (await fetch('/api/orders?tenantId=t-123')).text())];
  answers.push(await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage })));
  for (const answer of answers) assert(!answer.includes('eyJ') && !answer.includes('v1.'), answer);

  // Her tenant is the only one. Another one is refused, and its orders stay hidden.
  await expect(picker(page).locator('option')).toHaveText(['t-123']);
  await visitors.provoke([answered(403)], () => page.goto('/orders?tenantId=t-456'));
  await expect(page.getByRole('alert')).toHaveText('Your login is not for this tenant');
  assert.equal(await page.locator('tbody tr').count(), 0);

  // A link on another site leads to the page itself, without another login.
  const logins = requests(page, 'GET', '/login');
  await page.goto(`${PROVIDER}/.well-known/openid-configuration`);
  await page.evaluate((url) => { location.href = url; }, `${WEB}/orders?tenantId=t-123`);
  await page.waitForURL(`${WEB}/orders?tenantId=t-123`);
  await expect(page.locator('tbody tr')).toHaveCount(1);
  assert.equal(logins.length, 0);

  // Another page on this machine is of the same site, so the browser sends the cookie, and the request is refused.
  const neighbour = createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<link rel="icon" href="data:,"><title>Another page</title>');
  });
  await once(neighbour.listen(0, 'localhost'), 'listening');
  const site = `http://localhost:${neighbour.address().port}`;
  visitors.sites.add(site);
  await page.goto(site);
  const order = { requestId: 'forged', tenantId: 't-123', buyer: { email: 'a@b.example', name: 'A' }, items: [{ sku: 'S', qty: 1, price: 1 }] };
  const forge = (url, body) => page.evaluate(async ([target, text]) => {
    await fetch(target, { method: 'POST', mode: 'no-cors', credentials: 'include', body: text });
  }, [url, body]);
  const statuses = [];
  page.on('response', (response) => statuses.push(response.status()));
  await visitors.provoke([answered(403)], () => forge(`${WEB}/api/orders`, JSON.stringify(order)));
  await visitors.provoke([answered(403)], () => forge(`${WEB}/logout`, ''));
  assert.deepEqual(statuses, [403, 403]);
  visitors.sites.delete(site);
  neighbour.close();
  neighbour.closeAllConnections();
  assert.equal((await listed('t-123')).length, 1);
  await page.goto('/orders');
  await expect(page.locator('tbody tr')).toHaveCount(1);

  // Somebody of two tenants changes between them; the last one is remembered.
  const carol = await visitors.page('/');
  await logIn(carol, 'carol');
  await expect(picker(carol).locator('option')).toHaveText(['t-123', 't-456']);
  await expect(picker(carol)).toHaveValue('t-123');
  await picker(carol).selectOption('t-456');
  await carol.getByRole('button', { name: 'Switch' }).click();
  await carol.waitForURL('**/orders?tenantId=t-456');
  await expect(carol.locator('tbody tr')).toHaveCount(1);
  await carol.goto('/orders');
  await expect(picker(carol)).toHaveValue('t-456');

  // Without a script, too.
  const plain = await visitors.page('/orders/new?tenantId=t-456', { javaScriptEnabled: false });
  await plain.getByLabel('Name').fill('bob');
  await plain.getByLabel('Password').fill(process.env.PASSWORD);
  await plain.getByRole('button', { name: 'Log in' }).click();
  await plain.waitForURL(`${WEB}/orders/new?tenantId=t-456`);
  await plain.getByLabel('E-mail').fill('bob@example.com');
  await plain.getByLabel('Name').fill('Bob');
  await plain.getByLabel('Article').fill('SKU-1');
  await plain.getByLabel('Quantity').fill('1');
  await plain.getByLabel('Price').fill('1');
  await plain.locator('#create').click();
  await plain.waitForURL('**/orders?tenantId=t-456&created=*');
  await expect(plain.locator('tbody tr')).toHaveCount(2);

  // A login that began elsewhere, or not at all, ends nowhere.
  await visitors.provoke([answered(400)], () => plain.goto('/login/callback?code=x&state=y'));
  await expect(plain.getByText('This login did not begin in this browser')).toBeVisible();
  const [id] = (await listed('t-456')).map(({ orderId }) => orderId);
  await plain.goto('/orders');
  await expect(row(plain, id)).toBeVisible();
});
