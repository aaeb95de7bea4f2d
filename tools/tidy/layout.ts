/** Rules about the shape of files and folders. */
import { type Finding, isTest, type Rule, type SourceFile, serviceOf } from "./source.ts";

const FILE_LINES_BELOW = 400;
/** The longest line, in characters. */
export const LINE_CHARACTERS = 110;

const ROOM_FILES = ["README.md", "main.ts"];
const ROOMS = ["config", "api", "events", "timers", "store", "convert", "domain", "migrations"];
// A room that outgrows one file becomes a folder of the same name, split by concept.
const FOLDERS = [...ROOMS, "testing"];

const EMPTY_NAMES = /(^|[-_.])(utils?|common|helpers?|managers?|impl|base|misc)([-_.]|$)/;

// Written by hand and read line by line; pages and the contract's comments are prose.
const isCode = (path: string) => /\.(ts|sql)$/.test(path);

/** A file that is read in one go: under 400 lines. */
export const fileLength: Rule = {
  name: "file-length",
  check: (tree) =>
    tree
      .filter((file) => isCode(file.path) && file.lines.length >= FILE_LINES_BELOW)
      .map((file) => ({
        path: file.path,
        line: file.lines.length,
        advice: `${file.lines.length} lines; split it by concept, under ${FILE_LINES_BELOW}`,
      })),
};

/** A line that is read without scrolling; rows of a table in a test may be longer. */
export const lineLength: Rule = {
  name: "line-length",
  check: (tree) =>
    tree
      .filter((file) => /\.(ts|sql|proto|sh)$|(^|\/)Makefile$/.test(file.path))
      .flatMap((file) =>
        eachLine(file, (line) => line.length > LINE_CHARACTERS && !isRowOfTable(file.path, line)),
      )
      .map(({ path, line, text }) => ({
        path,
        line,
        advice: `${text.length} characters; break it at ${LINE_CHARACTERS}`,
      })),
};

function isRowOfTable(path: string, line: string): boolean {
  return isTest(path) && /^\s*[[{|].*[\]}|],?$/.test(line);
}

/** Names that say nothing attract everything. */
export const fileNames: Rule = {
  name: "file-names",
  check: (tree) =>
    tree
      .filter((file) => file.path.split("/").some((part) => EMPTY_NAMES.test(part.replace(/\.\w+$/, ""))))
      .map((file) => ({ path: file.path, line: 1, advice: "name it for what it is, a noun of the design" })),
};

/** Who knows one service finds the way in all: the same rooms in each, and no others. */
export const serviceRooms: Rule = {
  name: "service-rooms",
  check: (tree) => {
    const paths = tree.map((file) => file.path);
    const services = new Set(paths.map(serviceOf).filter((name) => name !== undefined));
    return [...services].flatMap((service) => [
      ...missingRooms(service, paths),
      ...strangeFolders(service, paths),
    ]);
  },
};

function missingRooms(service: string, paths: string[]): Finding[] {
  const home = `services/${service}/`;
  const files = ROOM_FILES.filter((name) => !paths.includes(home + name));
  const rooms = ROOMS.filter(
    (name) =>
      !paths.includes(`${home}${name}.ts`) && !paths.some((path) => path.startsWith(`${home}${name}/`)),
  );
  return [...files, ...rooms].map((name) => ({
    path: home,
    line: 1,
    advice: `it has no ${name}; every service has the same rooms`,
  }));
}

function strangeFolders(service: string, paths: string[]): Finding[] {
  const folder = new RegExp(`^services/${service}/([^/]+)/`);
  const names = new Set(paths.map((path) => folder.exec(path)?.[1]).filter((name) => name !== undefined));
  return [...names]
    .filter((name) => !FOLDERS.includes(name))
    .map((name) => ({
      path: `services/${service}/${name}/`,
      line: 1,
      advice: `a service is flat; its folders are ${FOLDERS.join(", ")}`,
    }));
}

/** What is left to do stands in an issue, not in the code. */
export const nothingLeftToDo: Rule = {
  name: "nothing-left-to-do",
  check: (tree) => {
    const note = /\b(TODO|FIXME|XXX)\b/;
    const advice = "do it now, or write an issue";
    const inComments = tree.flatMap((file) =>
      file.comments
        .filter((comment) => note.test(comment.text))
        .map((comment) => ({ path: file.path, line: comment.line, advice })),
    );
    const elsewhere = tree
      .filter((file) => /\.(sql|proto|ya?ml|sh)$|(^|\/)(Makefile|Dockerfile)$/.test(file.path))
      .flatMap((file) => eachLine(file, (line) => note.test(line)))
      .map(({ path, line }) => ({ path, line, advice }));
    return [...inComments, ...elsewhere];
  },
};

/** Nothing depends on where it was written: no path into somebody's home. */
export const noMachinePaths: Rule = {
  name: "no-machine-paths",
  check: (tree) =>
    tree
      .flatMap((file) => eachLine(file, (line) => /(?<![\w.~$}])\/(home|Users|root)\/\w/.test(line)))
      .map(({ path, line }) => ({
        path,
        line,
        advice: "a path of one machine; derive it or take it as an argument",
      })),
};

function eachLine(file: SourceFile, matches: (line: string) => boolean) {
  return file.lines
    .map((text, index) => ({ path: file.path, line: index + 1, text }))
    .filter(({ text }) => matches(text));
}
