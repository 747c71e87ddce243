// The dashboards on the pages of VictoriaMetrics: every panel draws something, and none complains. A picture of them is
// left in the folder that SCREENSHOTS names.

import { readFile } from 'node:fs/promises';

import { expect, run } from './support.mjs';

const { VMUI_URL, SCREENSHOTS, RANGE = '2m' } = process.env;
const { rows } = JSON.parse(await readFile(new URL('../../infra/vmui/orders.json', import.meta.url)));

await run(async (visitors) => {
  visitors.sites = new Set([VMUI_URL]);
  // High enough for all panels: those that cannot be seen ask for nothing.
  const page = await visitors.page(`${VMUI_URL}/vmui/#/dashboards?g0.range_input=${RANGE}&g0.relative_time=none`, {
    viewport: { width: 1500, height: 9000 },
  });
  for (const { title, panels } of rows) {
    const row = page.locator('.vm-predefined-dashboard').filter({ hasText: title });
    const header = row.locator('.vm-predefined-dashboard-header');
    if (!/_open/.test(await header.getAttribute('class'))) await header.click();
    for (const panel of panels) {
      const shown = row.locator('.vm-predefined-panel').filter({
        has: page.getByRole('heading', { name: panel.title, exact: true }),
      });
      await expect(shown.locator('canvas').first()).toBeVisible();
      await expect(shown.locator('.vm-alert')).toHaveCount(0);
    }
  }
  const [, backlog, duration] = rows;
  await page.screenshot({ path: `${SCREENSHOTS}/dashboards.png`, fullPage: true });
  for (const [name, { title }] of [['dashboard-backlog', backlog], ['dashboard-duration', duration]]) {
    const row = page.locator('.vm-predefined-dashboard').filter({ hasText: title });
    await row.screenshot({ path: `${SCREENSHOTS}/${name}.png` });
  }
});
