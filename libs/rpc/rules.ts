import { type DescMessage, getOption, hasOption, type Message } from "@bufbuild/protobuf";
import { pathToString, reflect } from "@bufbuild/protobuf/reflect";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { createValidator } from "@bufbuild/protovalidate";
import { field as fieldOption } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { DomainError, type FieldViolation } from "#libs/reasons";
import { isDuration, plainCheckOf } from "./plain-rules.ts";

const validator = createValidator({
  // The patterns of the contract are short and without backtracking traps, so the platform's engine is safe,
  // and fast.
  regexMatch: (pattern, value) => regexOf(pattern).test(value),
});

const regexes = new Map<string, RegExp>();

function regexOf(pattern: string): RegExp {
  let regex = regexes.get(pattern);
  if (!regex) {
    regex = new RegExp(pattern, "u");
    regexes.set(pattern, regex);
  }
  return regex;
}

/**
 * Refuses a request that breaks a rule of the contract, naming every field at fault; otherwise does nothing.
 */
export function checkRules(desc: DescMessage, request: Message): void {
  if (isPlainlyRight(desc, request)) return;
  const violations = violationsOf(desc, request);
  if (violations.length === 0) return;
  const message = violations.map(({ field, description }) => `${field}: ${description}`).join("; ");
  throw new DomainError("INVALID_FIELD", message, { fields: violations });
}

const plainChecks = new Map<DescMessage, (message: Message) => boolean>();

function isPlainlyRight(desc: DescMessage, request: Message): boolean {
  let check = plainChecks.get(desc);
  if (!check) {
    check = plainCheckOf(desc);
    plainChecks.set(desc, check);
  }
  return check(request) && pathOfBadText(request) === undefined;
}

function violationsOf(desc: DescMessage, request: Message): FieldViolation[] {
  const tooLong = tooLongLists(desc, request);
  if (tooLong.length > 0) return tooLong;
  const result = validator.validate(desc, request);
  // A defect of the contract's rules, not of the request.
  if (result.kind === "error") throw result.error;
  if (result.kind === "invalid") {
    return result.violations.map(({ field, message }) => ({
      field: pathToString(field),
      description: message,
    }));
  }
  const path = pathOfBadText(request);
  if (path === undefined) return malformedDurations(desc, request);
  return [{ field: path.slice(1), description: "must be text without NUL characters and lone surrogates" }];
}

/**
 * The durations of the request whose parts do not belong together, such as 2 s and -2,000,000,000 ns. The
 * validator compares them part by part, so that they are in a range that their sum is not in.
 */
function malformedDurations(desc: DescMessage, request: Message): FieldViolation[] {
  const fields = reflect(desc, request);
  return fields.fields.flatMap((field) => {
    if (field.fieldKind !== "message" || field.message.typeName !== DurationSchema.typeName) return [];
    if (!fields.isSet(field) || isDuration(fields.get(field).message)) return [];
    return [{ field: field.name, description: "must have nanos below a second, of the sign of its seconds" }];
  });
}

/**
 * The lists of the request that have more items than they may. The validator would judge every item too,
 * which takes it 20 s for the 300,000 that fit into a message.
 */
function tooLongLists(desc: DescMessage, request: Message): FieldViolation[] {
  const fields = reflect(desc, request);
  return fields.fields.flatMap((field) => {
    if (field.fieldKind !== "list" || !hasOption(field, fieldOption)) return [];
    const { case: kind, value: rules } = getOption(field, fieldOption).type;
    const maxItems = kind === "repeated" ? rules.maxItems : 0n;
    if (maxItems === 0n || fields.get(field).size <= maxItems) return [];
    return [{ field: field.name, description: `must contain no more than ${maxItems} item(s)` }];
  });
}

/**
 * The path of the first text that Postgres (which has no place for NUL) or UTF-8 (which has none for half a
 * surrogate pair) can't hold, as `.lines[2].sku`. Messages are plain objects, so this walks them without
 * their descriptors.
 */
function pathOfBadText(value: unknown): string | undefined {
  if (typeof value === "string") return value.includes("\0") || !value.isWellFormed() ? "" : undefined;
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return undefined;
  // Not Object.entries: every call comes this way, and the lists of pairs would be a twentieth of what it
  // throws away.
  for (const name in value) {
    const path = pathOfBadText(Reflect.get(value, name));
    if (path === undefined) continue;
    return Array.isArray(value) ? `[${name}]${path}` : `.${protoName(name)}${path}`;
  }
  return undefined;
}

function protoName(localName: string): string {
  return localName.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
