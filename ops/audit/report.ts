import { seconds } from "./agreement.ts";
import { type Finding, type FindingKind, remedies } from "./finding.ts";
import type { AuditReport } from "./system.ts";

/** Examples of one kind that are shown; they have one cause more often than not. */
const SHOWN = 20;

/** The report for a person: what was looked at, what is wrong and what to do about it. */
export function reportLines(report: AuditReport): string[] {
  const { findings, underWay } = report;
  const number = (count: number) => count.toLocaleString("en");
  const kinds = Map.groupBy(findings, ({ kind }) => kind);
  return [
    `${number(report.orders)} orders, ${number(report.reservations)} reservations, ` +
      `${number(report.levels)} stock levels and ${number(report.movements)} movements ` +
      `in ${seconds(report.tookMs)}`,
    ...outboxLines(report),
    ...(underWay.length > 0 ? underWayLines(underWay) : []),
    ...[...kinds].flatMap(([kind, some]) => findingLines(kind, some)),
    findings.length === 0 ? "All is well." : `${number(findings.length)} findings.`,
  ];
}

function outboxLines({ outboxes, deadLetters }: AuditReport): string[] {
  const waiting = Object.entries(outboxes).map(([service, { messages, oldestMs }]) =>
    messages === 0
      ? `${service}'s is empty`
      : `${messages} in ${service}'s, the oldest for ${seconds(oldestMs)}`,
  );
  return [`outboxes: ${waiting.join("; ")}`, `dead letters: ${deadLetters}`];
}

function underWayLines(underWay: AuditReport["underWay"]): string[] {
  return [
    `${underWay.length} differences that an event on its way will end:`,
    ...underWay.slice(0, SHOWN).map(({ subject, detail }) => `  ${subject}: ${detail}`),
    ...more(underWay.length),
  ];
}

function findingLines(kind: FindingKind, findings: readonly Finding[]): string[] {
  return [
    "",
    `${kind} (${findings.length})`,
    ...findings.slice(0, SHOWN).map(({ subject, detail }) => `  ${subject}: ${detail}`),
    ...more(findings.length),
    `  What to do: ${remedies[kind]}`,
    "",
  ];
}

function more(count: number): string[] {
  return count > SHOWN ? [`  and ${count - SHOWN} more`] : [];
}
