// Times in the zone of the visitor. The server shows them in UTC, as which their tooltip keeps them.

/** Changes every time in `root` that is still in UTC. */
export function localise(root: ParentNode): void {
  for (const time of root.querySelectorAll('time')) {
    const moment = new Date(time.dateTime);
    if (time.title !== '' || Number.isNaN(moment.getTime())) continue;
    const [, digits = '', zone = ''] = /^([-\d]+ [:\d]+)( UTC)?$/.exec(time.textContent ?? '') ?? [];
    time.title = `${digits} UTC`;
    time.textContent = local(moment).slice(0, digits.length) + (zone && ` ${zoneOf(moment)}`);
  }
}

/** `2025-08-26 09:00:59`, as the server writes it. */
function local(moment: Date): string {
  const two = (number: number) => String(number).padStart(2, '0');
  const date = [moment.getFullYear(), two(moment.getMonth() + 1), two(moment.getDate())];
  const time = [moment.getHours(), moment.getMinutes(), moment.getSeconds()];
  return `${date.join('-')} ${time.map(two).join(':')}`;
}

/** What the zone is called at that moment: `GMT+2`. */
function zoneOf(moment: Date): string {
  const parts = new Intl.DateTimeFormat('en', { timeZoneName: 'short' }).formatToParts(moment);
  return parts.find(({ type }) => type === 'timeZoneName')?.value ?? '';
}
