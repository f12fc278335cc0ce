/** Many files are sent a batch at a time: the first can be searched while the others are on their way. */

const MOST_FILES = 100;
const MOST_BYTES = 200_000_000;

export function batches<F extends { size: number }>(files: readonly F[]): F[][] {
  const found: F[][] = [];
  let bytes = Infinity;
  for (const file of files) {
    const last = found.at(-1);
    if (!last || last.length >= MOST_FILES || bytes + file.size > MOST_BYTES) {
      found.push([file]);
      bytes = file.size;
    } else {
      last.push(file);
      bytes += file.size;
    }
  }
  return found;
}
