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
const STALLED_MS = 30_000;

/** The file did not arrive. */
export class NotUploaded extends Error {}

/** Uploads `file`; calls `progress` with the share that has been sent, from 0 to 1. */
export async function upload(
  file: File,
  tenantId: string,
  progress: (sent: number) => void,
): Promise<Attachment> {
  const about = {
    filename: file.name,
    contentType: file.type || 'application/octet-stream',
    size: file.size,
  };
  const presigned: Presigned = await ask('/api/uploads/presign', JSON.stringify({ tenantId, ...about }));
  await put(presigned, file, progress);
  return { ...about, storageKey: presigned.storageKey };
}

// Only XMLHttpRequest reports how much of a request has been sent.
function put(to: Presigned, file: File, progress: (sent: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const fail = (why: string) => reject(new NotUploaded(why));
    let stalled: ReturnType<typeof setTimeout> | undefined;
    const watch = () => {
      clearTimeout(stalled);
      stalled = setTimeout(() => request.abort(), STALLED_MS);
    };
    request.upload.addEventListener('progress', ({ loaded, total }) => {
      watch();
      if (total > 0) progress(loaded / total);
    });
    request.addEventListener('load', () => {
      if (request.status >= 200 && request.status < 300) resolve();
      else fail(`the upload was answered with ${request.status}`);
    });
    request.addEventListener('error', () => fail('the upload failed'));
    request.addEventListener('abort', () => fail('the upload stalled'));
    request.addEventListener('loadend', () => clearTimeout(stalled));
    request.open('PUT', to.url);
    for (const [name, value] of Object.entries(to.headers)) request.setRequestHeader(name, value);
    request.send(file);
    watch();
  });
}
