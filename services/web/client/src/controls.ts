// Buttons that do nothing without this script, and are not shown without it.

import { announce } from './live';

const SAID_MS = 2_000;

/** Shows the buttons, as far as the browser can do what they say. */
export function startControls(): void {
  // Only pages of a secure origin may write to the clipboard.
  const canCopy = navigator.clipboard !== undefined;
  document.documentElement.dataset['script'] = canCopy ? 'print copy' : 'print';
  document.addEventListener('click', ({ target }) => {
    const button = target instanceof Element ? target.closest<HTMLElement>('[data-copy], [data-print]') : null;
    if (button === null) return;
    const text = button.dataset['copy'];
    if (text === undefined) print();
    else void copy(button, text);
  });
}

async function copy(button: HTMLElement, text: string): Promise<void> {
  const label = button.textContent;
  const outcome = await navigator.clipboard.writeText(text).then(() => 'Copied', () => 'Not copied');
  announce(outcome);
  if (label === outcome) return;
  button.textContent = outcome;
  setTimeout(() => { button.textContent = label; }, SAID_MS);
}
