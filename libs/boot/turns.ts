/**
 * Makes a queue for work that must not go on side by side: each piece begins when the one before it has
 * ended, well or not, and gives its own result.
 */
export function createTurns(): <Result>(work: () => Promise<Result>) => Promise<Result> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const turn = last.then(work, work);
    last = turn;
    return turn;
  };
}
