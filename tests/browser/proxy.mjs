// Behind a proxy that shows the pages below a path, lets no WebSocket through and tells the daemons a host of its own: the
// pages are live, lead nowhere else, and their forms are taken.

import { PREFIX, create, expect, fill, live, row, run, status, submit } from './support.mjs';

await run(async (visitors) => {
  const refused = /^WebSocket connection to '.*' failed: /;
  await visitors.provoke([refused], async () => {
    const page = await visitors.page(`${PREFIX}/orders?tenantId=t-1`);
    await expect(live(page)).toHaveText('Live');
    const id = await create('t-1', 'r1');
    await expect(status(page, id)).toHaveText('PENDING');
    await expect(status(page, id)).toHaveText('PAID');
    await row(page, id).getByRole('link').click();
    await page.waitForURL(`**${PREFIX}/orders/${id}?**`);
    await expect(live(page)).toHaveText('Live');

    // The script's form, and the form of a browser without it.
    await page.getByRole('link', { name: 'New order' }).click();
    await fill(page);
    await submit(page);
    await page.waitForURL(`**${PREFIX}/orders?tenantId=t-1**`);
    await expect(page.locator('tbody tr')).toHaveCount(2);
    const plain = await visitors.page(`${PREFIX}/orders/new?tenantId=t-1`, { javaScriptEnabled: false });
    await fill(plain);
    await submit(plain);
    await plain.waitForURL(`**${PREFIX}/orders?tenantId=t-1**`);
    await expect(plain.locator('tbody tr')).toHaveCount(3);
  });
});
