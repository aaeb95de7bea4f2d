/**
 * Thrown by a handler for a message that no repetition can make right: it goes to the dead letters with this
 * reason.
 */
export class ImpossibleMessage extends Error {
  override readonly name = "ImpossibleMessage";
  /** A name for programs, such as RESERVATION_COMMITTED. */
  readonly reason: string;

  constructor(reason: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Refuses a message with an id that is no UUID as the database writes it, and returns the id. */
export function requireUuid(id: string): string {
  if (!UUID.test(id)) throw new ImpossibleMessage("INVALID_FIELD", `${id} is no UUID`);
  return id;
}
