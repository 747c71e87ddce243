// The form for a new order. Its fields are named by their JSON pointers (`buyer/email`, `items/0/qty`), so each
// fault that the API reports finds its field.

import { BASE, LoggedOut, NoAnswer, Refused, ask, login } from './api';
import { announce } from './live';
import { remember } from './optimistic';
import { type Attachment, NotUploaded, upload } from './upload';

const JSON_NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const WHOLE_NUMBER = /^\s*\d+\s*$/;
/** One comma before the last one or two digits. Any other could separate thousands, so the API refuses that price. */
const DECIMAL_COMMA = /^(\d+),(\d{1,2})$/;
const CURRENCY = /^[A-Z]{3}$/;
/** What the API's faults of an attachment are about. */
const ABOUT_FILE: Record<string, string> = { filename: 'name', contentType: 'type', size: 'size' };

export function startForm(): void {
  const form = document.querySelector<HTMLFormElement>('form#order');
  if (form !== null) new OrderForm(form).start();
}

interface Message {
  /** What the summary says. */
  text: string;
  /** The faulty field, and what is said next to it. */
  at?: { field: HTMLElement; text: string };
  /** Where it leads, in another tab, so that nothing typed is lost. */
  href?: string;
}

class OrderForm {
  readonly #form: HTMLFormElement;
  readonly #lines: HTMLElement;
  readonly #file: HTMLInputElement;
  readonly #progress: HTMLProgressElement;
  #sending = false;
  /** The file uploaded already: a repeated request must have the same attachment. */
  #uploaded: { file: File; attachment: Attachment } | undefined;

  constructor(form: HTMLFormElement) {
    const part = <T extends HTMLElement>(selector: string) => form.querySelector<T>(selector) as T;
    this.#form = form;
    this.#lines = part('#lines');
    this.#file = part('#attachment');
    this.#progress = part('progress');
  }

  start(): void {
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      const button = event.submitter as HTMLButtonElement | null;
      if (button?.name === 'add') this.#add();
      else if (button?.name === 'remove') this.#remove(Number(button.value));
      else void this.#send();
    });
    this.#form.addEventListener('input', () => this.#showTotal());
    this.#showTotal();
    // Without this script the order would be sent without its file.
    this.#file.disabled = false;
    // Back on a form that was sent: sending it again would repeat the same order.
    addEventListener('pageshow', ({ persisted }) => {
      if (persisted && this.#sending) location.reload();
    });
  }

  #text(name: string): string {
    const field = this.#form.elements.namedItem(name);
    return field instanceof HTMLInputElement ? field.value : '';
  }

  #add(): void {
    const max = Number(this.#lines.dataset['max']);
    if (this.#lines.children.length >= max) return this.#say(`This form takes at most ${max} lines.`);
    const template = document.querySelector('template#line') as HTMLTemplateElement;
    this.#lines.append(document.importNode(template.content, true));
    this.#renumber();
    this.#lines.lastElementChild?.querySelector('input')?.focus();
    announce(`Line ${this.#lines.children.length} added`);
  }

  #remove(index: number): void {
    if (this.#lines.children.length <= 1) return;
    this.#lines.children[index]?.remove();
    this.#renumber();
    const next = Math.min(index, this.#lines.children.length - 1);
    this.#lines.children[next]?.querySelector('input')?.focus();
    announce(`Line ${index + 1} removed`);
  }

  #renumber(): void {
    for (const [index, line] of Array.from(this.#lines.children).entries()) {
      for (const element of [line, ...line.querySelectorAll('*')]) {
        for (const { name, value } of Array.from(element.attributes)) {
          const pointed = value.replace(/items\/[^/]+\//g, `items/${index}/`);
          if (pointed !== value) element.setAttribute(name, pointed);
        }
        if (element instanceof HTMLButtonElement) {
          element.value = String(index);
          element.ariaLabel = `Remove line ${index + 1}`;
          element.hidden = this.#lines.children.length === 1;
        }
        if (element instanceof HTMLLegendElement) element.textContent = `Line ${index + 1}`;
      }
    }
    this.#showTotal();
  }

  #values() {
    const lines = Array.from(this.#lines.children, (_, index) => ({
      sku: this.#text(`items/${index}/sku`),
      qty: this.#text(`items/${index}/qty`),
      price: this.#text(`items/${index}/price`).trim().replace(DECIMAL_COMMA, '$1.$2'),
    }));
    const currency = this.#text('currency').trim().toUpperCase();
    return {
      requestId: this.#text('requestId'),
      tenantId: this.#text('tenantId'),
      email: this.#text('buyer/email'),
      name: this.#text('buyer/name'),
      currency,
      lines,
      total: amount(lines, currency),
      file: this.#file.files?.[0],
    };
  }

  #showTotal(): void {
    const { lines, currency, total } = this.#values();
    for (const [index, line] of lines.entries()) {
      const shown = this.#lines.children[index]?.querySelector('.amount');
      if (shown) shown.textContent = digits([line], currency);
    }
    const output = this.#form.querySelector('output');
    if (output !== null && output.textContent !== total) output.textContent = total;
  }

  async #send(): Promise<void> {
    if (this.#sending) return;
    this.#show([]);
    // The values shown now are the ones to order.
    const values = this.#values();
    this.#freeze(true);
    try {
      const attachment = values.file && (await this.#upload(values.file, values.tenantId));
      this.#say('Sending the order');
      let isAnother = false;
      const { orderId } = await ask<{ orderId: string }>('/api/orders', body(values, attachment), (headers) => {
        isAnother = headers.get('x-idempotency-mismatch') === 'true';
      });
      if (isAnother) {
        const text = `This form has already created order ${orderId} with different values. Open a new form to create another order.`;
        throw new Refused({ message: [text] });
      }
      remember({
        tenantId: values.tenantId,
        orderId,
        createdAt: new Date().toISOString(),
        buyerName: values.name,
        buyerEmail: values.email,
        items: values.lines.length === 1 ? '1 item' : `${values.lines.length} items`,
        total: values.total,
        filename: attachment?.filename ?? '',
      });
      location.assign(`${BASE}/orders?${new URLSearchParams({ tenantId: values.tenantId, created: orderId })}`);
    } catch (error) {
      this.#freeze(false);
      this.#say('');
      this.#show(this.#messages(error));
    }
  }

  #freeze(sending: boolean): void {
    this.#sending = sending;
    const controls = this.#form.querySelectorAll<HTMLFieldSetElement | HTMLInputElement | HTMLButtonElement>(
      'fieldset, #attachment, #create, [name=add]',
    );
    for (const control of controls) control.disabled = sending;
    this.#progress.hidden = true;
  }

  async #upload(file: File, tenantId: string): Promise<Attachment> {
    if (this.#uploaded?.file === file) return this.#uploaded.attachment;
    this.#progress.value = 0;
    this.#progress.hidden = false;
    const attachment = await upload(file, tenantId, this.#file.dataset['uploads'] ?? '', (sent) => {
      this.#progress.value = sent;
      // In quarters, because a screen reader reads out each change. The name is isolated, whatever its direction.
      this.#say(`Uploading \u2068${file.name}\u2069: ${Math.floor(sent * 4) * 25} %`);
    });
    this.#uploaded = { file, attachment };
    return attachment;
  }

  #say(text: string): void {
    const status = this.#form.querySelector('#sending');
    if (status !== null && status.textContent !== text) status.textContent = text;
  }

  #messages(error: unknown): Message[] {
    if (error instanceof NotUploaded) {
      return [{ text: error.message, at: { field: this.#file, text: error.message } }];
    }
    if (error instanceof LoggedOut) {
      return [{ text: 'You are no longer logged in. Log in in another tab, then send the order again.', href: login('/orders') }];
    }
    if (error instanceof NoAnswer) {
      return [{ text: 'The order could not be sent. Try again; you will not create a second order.' }];
    }
    if (!(error instanceof Refused)) {
      console.error(error);
      return [{ text: 'The order could not be sent because of a problem on our side.' }];
    }
    if (error.faults.length === 0) return error.messages.map((text) => ({ text }));
    return error.faults.map(({ pointer, detail }, index) => (
      this.#message(pointer.slice(2), detail) ?? { text: error.messages[index] ?? detail }
    ));
  }

  /** The message about the field `name`, if the form has it. */
  #message(name: string, rule: string): Message | undefined {
    const field = this.#form.elements.namedItem(name);
    if (field instanceof HTMLInputElement && field.type !== 'hidden') {
      return { text: sentence(field, rule), at: { field, text: fault(field, rule) } };
    }
    const about = ABOUT_FILE[name.replace('attachment/', '')];
    if (about === undefined) return undefined;
    return {
      text: `Attachment: its ${about} ${rule}`,
      at: { field: this.#file, text: `Its ${about} ${rule}` },
    };
  }

  /** Shows each message next to its field, and all of them in a summary, which gets the focus. */
  #show(messages: Message[]): void {
    for (const field of this.#form.querySelectorAll<HTMLInputElement>('input:not([type=hidden])')) {
      const message = messages.find(({ at }) => at?.field === field);
      const error = document.getElementById(`${field.id}-error`);
      if (error !== null) error.textContent = message?.at?.text ?? '';
      if (message === undefined) field.removeAttribute('aria-invalid');
      else field.ariaInvalid = 'true';
    }
    const summary = document.getElementById('summary') as HTMLElement;
    const list = summary.querySelector('ul') as HTMLElement;
    list.replaceChildren(...messages.map(({ text, at, href }) => {
      const item = document.createElement('li');
      const to = at === undefined ? href : `#${at.field.id}`;
      if (to === undefined) {
        item.textContent = text;
      } else {
        const link = document.createElement('a');
        link.href = to;
        link.textContent = text;
        if (href !== undefined) [link.target, link.rel] = ['_blank', 'noopener'];
        item.append(link);
      }
      return item;
    }));
    summary.hidden = messages.length === 0;
    if (messages.length > 0) summary.focus();
  }
}

/** What to enter in a field that has no value, or another kind of value, where the server says so. */
function entry(field: HTMLElement, rule: string): string | undefined {
  return /^(must be an? |should not be empty$)/.test(rule) ? field.dataset['enter'] : undefined;
}

/** The fault of a field as its own text. */
function fault(field: HTMLElement, rule: string): string {
  const enter = entry(field, rule);
  return enter === undefined ? rule : `Enter ${enter}`;
}

/** The fault of a field as a sentence, with the field's line. */
function sentence(field: HTMLElement, rule: string): string {
  const line = field.closest('fieldset.line')?.querySelector('legend')?.textContent;
  const enter = entry(field, rule);
  if (enter !== undefined) return line === undefined ? `Enter ${enter}` : `${line}: enter ${enter}`;
  const label = (field as HTMLInputElement).labels?.[0]?.textContent?.trim() ?? '';
  return line === undefined ? `${label} ${rule}` : `${line}: ${label} ${rule}`;
}

type Line = Record<'sku' | 'qty' | 'price', string>;

/** The sum of some lines as the server shows amounts, with the decimals that the currency has or more. */
function digits(lines: Line[], currency: string): string {
  const isKnown = ({ qty, price }: Line) => WHOLE_NUMBER.test(qty) && JSON_NUMBER.test(price);
  const amounts = lines.map((line) => (isKnown(line) ? Number(line.qty) * Number(line.price) : NaN));
  const sum = amounts.reduce((sum, amount) => sum + amount, 0);
  if (!Number.isFinite(sum)) return '–';
  const minimumFractionDigits = decimals(currency);
  return sum.toLocaleString('en', { minimumFractionDigits, maximumFractionDigits: 6, useGrouping: false });
}

/** The same with the currency. */
function amount(lines: Line[], currency: string): string {
  const shown = digits(lines, currency);
  return shown !== '–' && CURRENCY.test(currency) ? `${shown} ${currency}` : shown;
}

function decimals(currency: string): number {
  if (!CURRENCY.test(currency)) return 2;
  const format = new Intl.NumberFormat('en', { style: 'currency', currency });
  return format.resolvedOptions().minimumFractionDigits ?? 2;
}

/** The body of `POST /api/orders`; the API checks it. */
function body(
  order: { requestId: string; tenantId: string; email: string; name: string; currency: string; lines: Line[] },
  attachment: Attachment | undefined,
): string {
  const items = order.lines.map(({ sku, qty, price }) => (
    object({ sku: JSON.stringify(sku), qty: number(qty), price: number(price) })
  ));
  return object({
    requestId: JSON.stringify(order.requestId),
    tenantId: JSON.stringify(order.tenantId),
    buyer: JSON.stringify({ email: order.email, name: order.name }),
    items: `[${items}]`,
    attachment: attachment && JSON.stringify(attachment),
    currency: order.currency === '' ? undefined : JSON.stringify(order.currency),
  });
}

/** A JSON object whose members are JSON already. */
function object(members: Record<string, string | undefined>): string {
  const given = Object.entries(members).filter(([, json]) => json !== undefined);
  return `{${given.map(([name, json]) => `${JSON.stringify(name)}:${json}`)}}`;
}

/** A typed number as JSON, digit by digit; anything else as a string, for the API to refuse. */
function number(typed: string): string | undefined {
  const trimmed = typed.trim();
  if (trimmed === '') return undefined;
  return JSON_NUMBER.test(trimmed) ? trimmed : JSON.stringify(trimmed);
}
