/**
 * `make audit`: looks at both databases and the broker beside live traffic, changes nothing, and tells what
 * is wrong and what to do about it. Status 0: all is well; 1: there are findings; 2: it could not look.
 */
import { describeFailure } from "../stack/problem.ts";
import { findAddresses } from "./addresses.ts";
import { reportLines } from "./audit/report.ts";
import { auditSystem } from "./audit/system.ts";

const status = { clean: 0, findings: 1, couldNotLook: 2 } as const;

try {
  const report = await auditSystem(findAddresses(process.env));
  for (const line of reportLines(report)) console.log(line);
  process.exitCode = report.findings.length === 0 ? status.clean : status.findings;
} catch (error) {
  console.error(describeFailure(error));
  process.exitCode = status.couldNotLook;
}
