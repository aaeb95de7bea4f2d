import { RenewedMap } from "#libs/renewed";

/** As much of a delivery as is looked at. */
export type Delivery = { readonly fields: { readonly deliveryTag: number } };

/** What is acknowledged of the deliveries of one channel, which has no other consumer. */
export type Acknowledgements<Message extends Delivery> = {
  /** Told of each delivery as it comes. */
  came(message: Message): void;
  /** Acknowledges the delivery, together with all others that are done in this turn of the event loop. */
  done(message: Message): void;
  /** Sends what waits for the end of the turn. */
  flush(): void;
};

/**
 * Gathers the acknowledgements of a turn: deliveries that are done without a gap from the oldest on take one
 * message to the broker, and those behind a gap one each. A batch of 256 is mostly without one. A channel
 * that is closing takes none: `onFailure` is told, and the deliveries come again.
 */
export function gatherAcknowledgements<Message extends Delivery>(
  channel: { ack(message: Message, allUpTo?: boolean): void },
  onFailure: (error: unknown) => void,
): Acknowledgements<Message> {
  /** Deliveries that are not acknowledged, oldest first. */
  const owed = new RenewedMap<number, Message>();
  let done = new Map<number, Message>();

  function flush(): void {
    const oldest = takeWithoutGap();
    const others = [...done.values()];
    done = new Map();
    for (const { fields } of others) owed.delete(fields.deliveryTag);
    try {
      if (oldest) channel.ack(oldest, true);
      for (const message of others) channel.ack(message);
    } catch (error) {
      onFailure(error);
    }
  }

  // Returns the last of those that are done with all before them.
  function takeWithoutGap(): Message | undefined {
    let last: Message | undefined;
    for (const [tag, message] of owed.entries()) {
      if (!done.delete(tag)) break;
      owed.delete(tag);
      last = message;
    }
    return last;
  }

  return {
    came: (message) => {
      owed.set(message.fields.deliveryTag, message);
    },
    done: (message) => {
      if (done.size === 0) setImmediate(flush);
      done.set(message.fields.deliveryTag, message);
    },
    flush,
  };
}
