import { isDeepStrictEqual, styleText } from "node:util";

/** Compares one number, or another plain value, with what it must be. */
export type Expect = (what: string, actual: unknown, expected: unknown) => void;

/**
 * Tells a story on a terminal or into a file: a line a step, with its time and whether all its numbers are
 * right.
 */
export type Narrator = {
  title(name: string, about: string): void;
  chapter(title: string): void;
  /** Shows one step; the text that `work` returns stands at the end of its line. */
  step(text: string, work: (expect: Expect) => Promise<string>): Promise<void>;
  /** A line beside the story. */
  note(text: string): void;
  /** Ends the story in the middle: what its steps come to is no longer told. */
  interrupt(): void;
  table(header: readonly string[], rows: readonly (readonly string[])[]): void;
  /** A line of its own. */
  say(text: string): void;
  /** Says whether all was right, and returns the status to end with. */
  verdict(): number;
};

export type Screen = {
  readonly columns: number;
  /** Whether a line can be replaced by another, and colours make sense. */
  readonly isTerminal: boolean;
  write(text: string): void;
};

type Style = Parameters<typeof styleText>[0];

/** Lines that are longer are hard to read, however wide the terminal is. */
const WIDTH_MAX = 100;
const WIDTH_MIN = 50;
/** Before the text of a step: its time and its mark. */
const INDENT = 13;
const MISTAKES_SHOWN = 10;

/** The screen of a process. */
export function screenOf(stream: NodeJS.WriteStream): Screen {
  const isTerminal = stream.isTTY && process.env["TERM"] !== "dumb";
  return { columns: stream.columns ?? 80, isTerminal, write: (text) => void stream.write(text) };
}

/** Makes a narrator that tells on this screen; the time counts from now. */
export function createNarrator(screen: Screen): Narrator {
  const startedAt = performance.now();
  const seconds = () => ((performance.now() - startedAt) / 1000).toFixed(1);
  const page = createPage(screen);
  const { paint, line, width } = page;
  let compared = 0;
  let wrong = 0;
  let isInterrupted = false;

  function showStep(mark: string, text: string, result: string): void {
    page.end();
    if (isInterrupted) return;
    const room = width - INDENT - (result === "" ? 0 : result.length + 2);
    const [first = "", ...more] = wrap(text, room);
    const end = result === "" ? "" : " ".repeat(Math.max(2, room - first.length + 2)) + paint("bold", result);
    line(`${paint("dim", `${seconds().padStart(6)} s`)}  ${mark}  ${first}${end}`);
    for (const part of more) line(" ".repeat(INDENT) + part);
  }

  return {
    title(name, about) {
      line();
      line(`  ${paint(["bold", "cyan"], name)}`);
      line(`  ${about}`);
    },
    chapter(title) {
      line();
      line(`  ${paint("bold", title)}`);
    },
    async step(text, work) {
      page.begin(text);
      const mistakes: string[] = [];
      const expect: Expect = (what, actual, expected) => {
        compared += 1;
        if (isDeepStrictEqual(actual, expected)) return;
        wrong += 1;
        mistakes.push(`${what}: expected ${print(expected)}, but it is ${print(actual)}`);
      };
      let result = "";
      try {
        result = await work(expect);
      } catch (error) {
        showStep(paint("red", "✗"), text, "");
        throw error;
      }
      showStep(mistakes.length === 0 ? paint("green", "✓") : paint("red", "✗"), text, result);
      for (const mistake of mistakes.slice(0, MISTAKES_SHOWN)) page.tell(mistake, "red");
      if (mistakes.length > MISTAKES_SHOWN) page.tell(`and ${mistakes.length - MISTAKES_SHOWN} more`, "red");
    },
    note: (text) => page.aside(text),
    interrupt() {
      isInterrupted = true;
      page.end();
    },
    table(header, rows) {
      line();
      const [first = "", ...lines] = columnsOf([header, ...rows]);
      line(`  ${paint("dim", first)}`);
      for (const row of lines) line(`  ${row}`);
    },
    say(text) {
      line();
      for (const part of wrap(text, width - 2)) line(`  ${part}`);
    },
    verdict() {
      const count = compared.toLocaleString("en");
      line();
      if (wrong > 0) line(`  ${paint(["bold", "red"], `${wrong} of ${count} values are wrong.`)}`);
      else line(`  ${paint(["bold", "green"], `All ${count} values are right`)}, in ${seconds()} s.`);
      line();
      return wrong > 0 ? 1 : 0;
    },
  };
}

/** What is written: lines, and on a terminal the step under way, which its result replaces. */
function createPage(screen: Screen) {
  const width = Math.max(WIDTH_MIN, Math.min(screen.columns - 1, WIDTH_MAX));
  const isColoured = screen.isTerminal && !process.env["NO_COLOR"];
  const paint = (style: Style, text: string) =>
    isColoured ? styleText(style, text, { validateStream: false }) : text;
  const line = (text = "") => screen.write(`${text}\n`);
  let underWay = "";

  function tell(text: string, style: Style): void {
    for (const part of wrap(text, width - INDENT)) line(" ".repeat(INDENT) + paint(style, part));
  }

  function erase(): void {
    if (underWay !== "") screen.write("\r\u001b[2K");
  }

  return {
    width,
    paint,
    line,
    tell,
    begin(text: string): void {
      if (!screen.isTerminal) return;
      const [first = ""] = wrap(text, width - INDENT);
      underWay = `${" ".repeat(10)}${paint("dim", `·  ${first}`)}`;
      screen.write(underWay);
    },
    end(): void {
      erase();
      underWay = "";
    },
    /** A line before the step under way. */
    aside(text: string): void {
      erase();
      tell(text, "dim");
      screen.write(underWay);
    },
  };
}

/** Lays cells out in columns, the first to the left and the others, which are numbers, to the right. */
function columnsOf(rows: readonly (readonly string[])[]): string[] {
  const widthOf = (column: number) => Math.max(...rows.map((row) => row[column]?.length ?? 0));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widthOf(0)) : cell.padStart(widthOf(column))))
      .join("  "),
  );
}

/** Breaks a text into lines of at most `width` characters, between words. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

function print(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? String(value));
}
