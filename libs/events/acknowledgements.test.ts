import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as turnOfTheLoop } from "node:timers/promises";
import fc from "fast-check";
import { type Delivery, gatherAcknowledgements } from "./acknowledgements.ts";

function createFake() {
  const sent: string[] = [];
  const acknowledged = new Set<number>();
  const came: number[] = [];
  const acknowledgements = gatherAcknowledgements<Delivery>(
    {
      ack: ({ fields: { deliveryTag } }, allUpTo = false) => {
        sent.push(allUpTo ? `..${deliveryTag}` : `${deliveryTag}`);
        const tags = allUpTo ? came.filter((tag) => tag <= deliveryTag) : [deliveryTag];
        for (const tag of tags) acknowledged.add(tag);
      },
    },
    (error) => assert.fail(String(error)),
  );
  const delivery = (deliveryTag: number): Delivery => ({ fields: { deliveryTag } });
  return {
    sent,
    acknowledged,
    come: (tag: number) => {
      came.push(tag);
      acknowledgements.came(delivery(tag));
    },
    done: (tag: number) => acknowledgements.done(delivery(tag)),
    flush: () => acknowledgements.flush(),
  };
}

describe("acknowledgements", () => {
  it("of a turn take one message without a gap, and one each behind it", async () => {
    const fake = createFake();
    for (const tag of [1, 2, 3, 4, 5, 6]) fake.come(tag);
    for (const tag of [2, 1, 3, 5]) fake.done(tag);
    assert.deepEqual(fake.sent, []);
    await turnOfTheLoop();
    assert.deepEqual(fake.sent, ["..3", "5"]);
    fake.done(4);
    await turnOfTheLoop();
    fake.done(6);
    fake.flush();
    assert.deepEqual(fake.sent, ["..3", "5", "..4", "..6"]);
    await turnOfTheLoop();
    assert.equal(fake.sent.length, 4);
  });

  it("are of what is done and of nothing else, in whatever order it comes to its end", async () => {
    const turns = fc.array(fc.array(fc.nat(40), { maxLength: 10 }), { maxLength: 10 });
    await fc.assert(
      fc.asyncProperty(turns, async (script) => {
        const fake = createFake();
        const done = new Set<number>();
        for (let tag = 0; tag <= 40; tag += 1) fake.come(tag);
        for (const tags of script) {
          for (const tag of tags) {
            if (!done.has(tag)) fake.done(tag);
            done.add(tag);
          }
          await turnOfTheLoop();
          assert.deepEqual(fake.acknowledged, done);
        }
      }),
    );
  });
});
