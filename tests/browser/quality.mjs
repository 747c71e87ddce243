// For everybody: no violation that axe-core finds, no layout shift, light on the network, by keyboard alone, on a phone.
// The screenshots are left in the folder that SCREENSHOTS names.

import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

import { WEB, accessible, answered, api, expect, listed, live, run, stack, status } from './support.mjs';

const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
const LIMIT_BYTES = 60 * 1024;
const PIECE_BYTES = 100;
const PIECE_MS = 30;

await run(async (visitors) => {
  // `seed-data` was here.
  const settle = async () => {
    await stack('pay after 100ms');
    await expect(async () => {
      const states = (await listed('t-123')).map((order) => order.status);
      assert(states.length > 20 && !states.includes('PENDING'));
    }).toPass({ timeout: 60_000 });
    await stack('pay after 1h');
  };
  await settle();
  // A name from right to left, which would move what stands beside it.
  const filename = 'חשבונית 2025 (עותק).pdf';
  const upload = await api('/api/uploads/presign', { tenantId: 't-123', filename, contentType: 'application/pdf', size: 6 });
  const { orderId: attached } = await api('/api/orders', {
    requestId: 'attached',
    tenantId: 't-123',
    buyer: { email: 'alice@example.com', name: 'Alice Alder' },
    items: [{ sku: 'TEA-ASSAM-250', qty: 2, price: 8.9 }, { sku: 'POT-GLASS-1200', qty: 1, price: 39.9 }],
    currency: 'EUR',
    metadata: { channel: 'web', note: 'Please ring twice' },
    attachment: { filename, contentType: 'application/pdf', size: 6, storageKey: upload.storageKey },
  });
  const settled = (await listed('t-123')).find((order) => order.status === 'PAID');
  const pages = {
    orders: '/orders?tenantId=t-123',
    'new-order': '/orders/new?tenantId=t-123',
    order: `/orders/${attached}?tenantId=t-123`,
    settled: `/orders/${settled.orderId}?tenantId=t-123`,
    filtered: '/orders?tenantId=t-123&status=PAID&q=a&limit=25',
    'wrong-filter': '/orders?tenantId=t-123&buyerEmail=x&from=y',
    empty: '/orders?tenantId=nobody',
    'beyond-the-end': '/orders?tenantId=t-123&page=9',
    'wrong-tenant': '/orders?tenantId=%20',
    'not-found': '/orders/x?tenantId=t-123',
  };
  const faulty = { 'wrong-filter': [answered(400)], 'wrong-tenant': [answered(400)], 'not-found': [answered(404)] };
  const open = (page, name, path) => visitors.provoke(faulty[name] ?? [], () => page.goto(path));
  const looks = {
    desktop: {},
    dark: { colorScheme: 'dark' },
    phone: PHONE,
    'phone-dark': { ...PHONE, colorScheme: 'dark' },
  };
  for (const [look, options] of Object.entries(looks)) {
    const context = await visitors.visitor(options);
    await context.addInitScript(watchShifts);
    const page = await context.newPage();
    for (const [name, path] of Object.entries(pages)) {
      await open(page, name, path);
      if (await live(page).count() > 0) await expect(live(page)).toHaveText('Live');
      await page.evaluate(() => new Promise((resume) => requestAnimationFrame(() => requestAnimationFrame(resume))));
      assert.deepEqual(await page.evaluate(() => window.shifts()), [], `${name} on ${look} shifts`);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert(overflow <= 0, `${name} on ${look} is ${overflow} px too wide`);
      const fullPage = !look.startsWith('phone');
      await page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}-${look}.png`, fullPage });
      await accessible(page, `${name} on ${look}`);
    }
    await page.goto(pages.order);
    await page.locator('summary').click();
    await expect(page.getByRole('button', { name: 'Yes, cancel it' })).toBeVisible();
    await accessible(page, `a question on ${look}`);
    if (look.startsWith('phone')) {
      // Filters are out of the way, but not forgotten.
      await page.goto(pages.filtered);
      await expect(page.getByLabel('Status')).toBeHidden();
      await page.locator('summary').filter({ hasText: 'Filters (1)' }).click();
      await expect(page.getByLabel('Status')).toHaveValue('PAID');
      await page.screenshot({ path: `${process.env.SCREENSHOTS}/filters-${look}.png` });
      await accessible(page, `filters on ${look}`);
      const lines = await page.locator('.email').evaluateAll((emails) => emails.map((it) => {
        const text = document.createRange();
        text.selectNodeContents(it);
        return text.getClientRects().length;
      }));
      assert.deepEqual([...new Set(lines)], [1], 'no address breaks');
    }
    await page.goto('/orders/new?tenantId=t-123');
    await visitors.provoke([answered(400)], () => page.locator('#create').click());
    await expect(page.locator('#summary')).toBeFocused();
    await page.screenshot({ path: `${process.env.SCREENSHOTS}/errors-${look}.png` });
    await accessible(page, `errors on ${look}`);
    await context.close();
  }

  // A page that comes in pieces moves nothing either.
  const proxy = await dripping();
  const slow = await visitors.visitor({ proxy: { server: `http://127.0.0.1:${proxy.address().port}` } });
  await slow.addInitScript(watchShifts);
  const dripped = await slow.newPage();
  for (const [name, path] of Object.entries(pages)) {
    await open(dripped, name, path);
    await dripped.evaluate(() => new Promise((resume) => requestAnimationFrame(() => requestAnimationFrame(resume))));
    assert.deepEqual(await dripped.evaluate(() => window.shifts()), [], `${name} in pieces shifts`);
  }
  await slow.close();
  proxy.close();

  // A status that flips moves nothing but its own letters.
  const still = await visitors.visitor();
  await still.addInitScript(watchShifts);
  const flips = await still.newPage();
  await flips.goto(pages.orders);
  await expect(live(flips)).toHaveText('Live');
  await expect(status(flips, attached)).toHaveText('PENDING');
  await stack('pay after 100ms');
  await expect(status(flips, attached)).toHaveText('PAID');
  const moved = (await flips.evaluate(() => window.shifts())).reduce((sum, shift) => sum + parseFloat(shift), 0);
  assert(moved < 0.0001, `${moved}`);

  // What is from right to left is isolated, on both pages.
  for (const path of [pages.orders, pages.order]) {
    await flips.goto(path);
    const name = flips.getByText(filename);
    assert.deepEqual(
      await name.evaluate((it) => [it.localName, getComputedStyle(it).unicodeBidi, getComputedStyle(it).direction]),
      ['bdi', 'isolate', 'rtl'],
    );
  }

  // An order is copied by its id, and printed on one page, without what cannot be pressed there.
  await flips.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await flips.goto(pages.order);
  await flips.getByRole('button', { name: 'Copy the id' }).click();
  await expect(flips.getByRole('button', { name: 'Copied' })).toBeVisible();
  assert.equal(await flips.evaluate(() => navigator.clipboard.readText()), attached);
  await flips.evaluate(() => { window.print = () => { window.printed = true; }; });
  await flips.getByRole('button', { name: 'Print' }).click();
  assert(await flips.evaluate(() => window.printed));
  await flips.emulateMedia({ media: 'print', colorScheme: 'dark' });
  for (const shown of ['.lines', '.history', '.printed', '.status']) await expect(flips.locator(shown)).toBeVisible();
  for (const hidden of ['header', 'footer', '.back', '.order > .actions']) await expect(flips.locator(hidden)).toBeHidden();
  const background = await flips.locator('.order').evaluate((it) => getComputedStyle(it).backgroundColor);
  assert.equal(background, 'rgb(255, 255, 255)');
  const pdf = (await flips.pdf({ format: 'A4' })).toString('latin1');
  assert.equal(pdf.match(/\/Type\s*\/Page\b/g).length, 1);

  // The documentation of the API is here too, and dark where all else is.
  const docs = await visitors.page('/docs', { colorScheme: 'dark' });
  await expect(docs.locator('#operations-orders-listOrders')).toBeVisible();
  assert.match(await docs.evaluate(() => getComputedStyle(document.documentElement).backgroundColor), /^rgb\(28, 32, 34\)/);

  await flips.emulateMedia({ media: 'screen' });

  // A file that is not there is told in words: this upload was a mock.
  await visitors.provoke([answered(404)], () => flips.getByRole('link', { name: filename }).click());
  await expect(flips.getByText('Uploads are a mock, which stores no files')).toBeVisible();
  await flips.getByRole('link', { name: 'Back to the order' }).click();
  await expect(flips.locator('.lines')).toBeVisible();

  // The first visit, and the second.
  const context = await visitors.visitor();
  const page = await context.newPage();
  const network = await context.newCDPSession(page);
  await network.send('Network.enable');
  let bytes = 0;
  network.on('Network.loadingFinished', ({ encodedDataLength }) => { bytes += encodedDataLength; });
  await page.goto('/orders?tenantId=t-123', { waitUntil: 'networkidle' });
  console.log(`first load: ${bytes} bytes`);
  assert(bytes > 5_000 && bytes < LIMIT_BYTES, `${bytes} bytes`);
  bytes = 0;
  await page.goto('/orders/new?tenantId=t-123', { waitUntil: 'networkidle' });
  console.log(`second page: ${bytes} bytes`);
  assert(bytes > 0 && bytes < 5_000, `${bytes} bytes`);

  // Every order by keyboard alone.
  await page.getByLabel('E-mail').focus();
  const before = (await listed('t-123')).length;
  for (const text of ['alice@example.com', 'Alice', 'EUR', 'SKU-1', '2', '49.99']) {
    await page.keyboard.type(text);
    await page.keyboard.press('Tab');
  }
  // From the file's button, past it, to the one that creates.
  for (let n = 0; n < 9 && !(await page.locator('#create').evaluate((it) => it === document.activeElement)); n += 1) {
    await page.keyboard.press('Tab');
  }
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/orders\?/);
  assert.equal((await listed('t-123')).length, before + 1);

  // What every page is sent with.
  const response = await page.request.get(WEB + pages.orders);
  const headers = response.headers();
  assert.match(headers['content-security-policy'], /default-src 'none'; script-src 'self'; style-src 'self'/);
  assert(!/unsafe|\*/.test(headers['content-security-policy']));
  assert.equal(headers['x-content-type-options'], 'nosniff');
  assert.equal(headers['cache-control'], 'no-store');
  // The browser keeps to it, and whatever it complains of is seen here.
  await visitors.provoke([/^Executing inline script violates the following Content Security Policy directive/], () => (
    page.evaluate(() => {
      const script = document.createElement('script');
      script.textContent = 'window.injected = true';
      document.head.append(script);
    })
  ));
  assert.equal(await page.evaluate(() => window.injected), undefined);
});

/** A forward proxy that gives pages in pieces, some time apart, as a slow network does. */
async function dripping() {
  const proxy = http.createServer((request, response) => {
    request.pipe(http.request(request.url, { method: request.method, headers: request.headers }, async (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      const isPage = answer.headers['content-type']?.startsWith('text/html');
      for await (const chunk of answer) {
        for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
          response.write(chunk.subarray(at, at + PIECE_BYTES));
          if (isPage) await pause(PIECE_MS);
        }
      }
      response.end();
    }));
  });
  proxy.on('connect', ({ url }, socket) => {
    const { hostname, port } = new URL(`http://${url}`);
    const server = net.connect(port, hostname, () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
    server.on('error', () => socket.destroy()).pipe(socket).on('error', () => server.destroy()).pipe(server);
  });
  return new Promise((resume) => { proxy.listen(0, '127.0.0.1', () => resume(proxy)); });
}

/** Keeps every layout shift with what moved, for `window.shifts()`. */
function watchShifts() {
  const told = [];
  const tell = (entries) => {
    for (const { value, sources } of entries) {
      const moved = sources.map(({ node, previousRect, currentRect }) => (
        [node?.outerHTML ?? node?.textContent, JSON.stringify(previousRect), JSON.stringify(currentRect)].join(' ')
      ));
      told.push(`${value}: ${moved}`);
    }
  };
  const observer = new PerformanceObserver((list) => tell(list.getEntries()));
  observer.observe({ type: 'layout-shift', buffered: true });
  window.shifts = () => {
    tell(observer.takeRecords());
    return told;
  };
}
