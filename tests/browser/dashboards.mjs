// The dashboards on the pages of VictoriaMetrics: every panel draws something, and none complains. A picture of some is
// left in the folder that SCREENSHOTS names.

import { readFile } from 'node:fs/promises';

import { expect, run } from './support.mjs';

const { VMUI_URL, SCREENSHOTS, RANGE = '2m' } = process.env;
const { rows } = JSON.parse(await readFile(new URL('../../infra/vmui/orders.json', import.meta.url)));

await run(async (visitors) => {
  visitors.sites = new Set([VMUI_URL]);
  // High enough for all panels: those that cannot be seen ask for nothing.
  const page = await visitors.page(`${VMUI_URL}/vmui/#/dashboards?g0.range_input=${RANGE}&g0.relative_time=none`, {
    viewport: { width: 1500, height: 15_000 },
  });
  for (const { title, panels } of rows) {
    const row = page.locator('.vm-predefined-dashboard').filter({ hasText: title });
    const arrow = row.locator('.vm-accordion-header__arrow');
    if (!/_open/.test(await arrow.getAttribute('class'))) await arrow.click();
    for (const panel of panels) {
      const shown = row.locator('.vm-predefined-panel').filter({
        has: page.getByRole('heading', { name: panel.title, exact: true }),
      });
      await expect(shown.locator('canvas').first()).toBeVisible();
      await expect(shown.locator('.vm-alert')).toHaveCount(0);
    }
  }
  const row = page.locator('.vm-predefined-dashboard').filter({ hasText: 'How long does an order take?' });
  const { x, y, width } = await row.boundingBox();
  const first = await row.locator('.vm-predefined-panel').first().boundingBox();
  const clip = { x, y, width, height: first.y + first.height - y };
  await page.screenshot({ path: `${SCREENSHOTS}/dashboards.png`, clip });
});
