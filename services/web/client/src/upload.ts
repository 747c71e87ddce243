// Uploading a file: presign, then PUT it where the answer says.

import { ask } from './api';

export interface Attachment {
  filename: string;
  contentType: string;
  size: number;
  storageKey: string;
}

interface Presigned {
  url: string;
  storageKey: string;
  headers: Record<string, string>;
}

/** The longest time without progress. */
const STALLED_SECONDS = 30;

/** The attachment did not arrive; the message tells the user why. */
export class NotUploaded extends Error {}

/**
 * Uploads `file`; calls `progress` with the share that has been sent, from 0 to 1.
 *
 * The page's policy allows `uploads`, an origin, besides the page's own; of another, only the console would tell why.
 */
export async function upload(
  file: File,
  tenantId: string,
  uploads: string,
  progress: (sent: number) => void,
): Promise<Attachment> {
  const about = {
    filename: file.name,
    contentType: file.type || 'application/octet-stream',
    size: file.size,
  };
  const presigned: Presigned = await ask('/api/uploads/presign', JSON.stringify({ tenantId, ...about }));
  const { origin } = new URL(presigned.url, location.href);
  if (origin !== location.origin && origin !== new URL(uploads).origin) {
    throw new NotUploaded(`The attachment cannot be uploaded: it has to go to ${origin}, but this page may send files only \
to ${uploads}. Whoever runs this site can set ORDERS_UPLOAD_ORIGIN.`);
  }
  await put(presigned, origin, file, progress);
  return { ...about, storageKey: presigned.storageKey };
}

// Only XMLHttpRequest reports how much of a request has been sent.
function put(to: Presigned, origin: string, file: File, progress: (sent: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const fail = (why: string) => reject(new NotUploaded(`The attachment could not be uploaded: ${why}. Try again.`));
    let stalled: ReturnType<typeof setTimeout> | undefined;
    const watch = () => {
      clearTimeout(stalled);
      stalled = setTimeout(() => request.abort(), STALLED_SECONDS * 1_000);
    };
    request.upload.addEventListener('progress', ({ loaded, total }) => {
      watch();
      if (total > 0) progress(loaded / total);
    });
    request.addEventListener('load', () => {
      if (request.status >= 200 && request.status < 300) resolve();
      else fail(`${origin} answered ${request.status}`);
    });
    request.addEventListener('error', () => fail(`${origin} does not answer, or takes no files from this page`));
    request.addEventListener('abort', () => fail(`${origin} took nothing for ${STALLED_SECONDS} s`));
    request.addEventListener('loadend', () => clearTimeout(stalled));
    request.open('PUT', to.url);
    for (const [name, value] of Object.entries(to.headers)) {
      // A browser lets no page set it, and sets it itself.
      if (name.toLowerCase() !== 'content-length') request.setRequestHeader(name, value);
    }
    request.send(file);
    watch();
  });
}
