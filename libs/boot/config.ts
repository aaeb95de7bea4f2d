/** A variable of a process's environment. */
export type Variable = {
  /** What it is for, for `.env.example` and for whoever got it wrong. */
  readonly about: string;
  /** The value if it is not set; a variable without one must be set. */
  readonly default?: string;
  /** What a value must look like, if not anything goes. */
  readonly pattern?: RegExp;
};

/** The variables that a process reads: there are no others. */
export type ConfigSpec = Readonly<Record<string, Variable>>;

/**
 * Reads the variables of `spec` from an environment; throws one error that names everything that is wrong
 * with it.
 */
export function readConfig<Spec extends ConfigSpec>(
  spec: Spec,
  environment: Readonly<Record<string, string | undefined>>,
): Record<keyof Spec & string, string> {
  const problems: string[] = [];
  const values: Record<string, string> = {};
  for (const [name, variable] of Object.entries(spec)) {
    const value = environment[name] ?? variable.default;
    if (value === undefined) problems.push(`${name} is not set: ${variable.about}`);
    else if (variable.pattern && !variable.pattern.test(value))
      problems.push(`${name}=${withoutPassword(value)} is not right: ${variable.about}`);
    else values[name] = value;
  }
  if (problems.length > 0) throw new Error(`the environment is not complete:\n  ${problems.join("\n  ")}`);
  return values;
}

// What is not a URL may be meant as one, and what is wrong is logged.
function withoutPassword(value: string): string {
  return value.replace(/\/\/.*@/, "//***@");
}
