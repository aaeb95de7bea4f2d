/**
 * What was read is no longer so, because another instance was faster: the batch is done again from the
 * beginning.
 */
export class StaleRead extends Error {
  override readonly name = "StaleRead";
}
