/** What a person at the terminal can solve: one line says what is wrong, a second what to do. */
export class Problem extends Error {
  readonly what: string;
  readonly remedy: string;

  constructor(what: string, remedy: string, options?: ErrorOptions) {
    super(`${what}\n${remedy}`, options);
    this.name = "Problem";
    this.what = what;
    this.remedy = remedy;
  }
}

/** The text for the terminal: two lines for a problem, the whole stack for a defect. */
export function describeFailure(error: unknown): string {
  if (error instanceof Problem) return `${error.what}\n${error.remedy}`;
  if (error instanceof Error) return error.stack ?? error.message;
  return String(error);
}
