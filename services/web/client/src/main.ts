// Keeps the pages live. Without this script they are complete, but static.

import { startControls } from './controls';
import { startForm } from './form';
import { follow } from './live';
import { Optimistic } from './optimistic';
import { Region } from './region';
import { localise } from './times';

startControls();
localise(document);

const tenantId = document.body.dataset['tenant'];
const region = document.getElementById('region');

if (tenantId !== undefined && region !== null) {
  const optimistic = new Optimistic(tenantId);
  const shown = new Region(region, optimistic);
  follow(tenantId, {
    created: (change) => shown.created(change),
    updated: (change) => shown.updated(change),
    missed: () => shown.refresh(),
  });
}

startForm();

// The message about the last action belongs to this visit, not to a reload.
const address = new URL(location.href);
for (const name of ['created', 'cancel']) address.searchParams.delete(name);
if (address.href !== location.href) history.replaceState(history.state, '', address);
