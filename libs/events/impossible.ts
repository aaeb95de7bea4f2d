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
