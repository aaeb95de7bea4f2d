import type { OrderFacts, Pair, ReservationFacts } from "./agreement.ts";

/**
 * Walks orders and reservations side by side, both by ascending id, and pairs what belongs together; never has
 * more than a page of each in memory.
 */
export async function* mergeById(
  orders: AsyncIterator<OrderFacts, undefined>,
  reservations: AsyncIterator<ReservationFacts, undefined>,
): AsyncGenerator<Pair> {
  let order = (await orders.next()).value;
  let reservation = (await reservations.next()).value;
  while (order || reservation) {
    // Ids are lower-case texts of one length, so that texts and Postgres sort them alike.
    const comesFirst = (one?: string, other?: string) =>
      one !== undefined && (other === undefined || one < other);
    const hasOrder = !comesFirst(reservation?.reservationId, order?.orderId);
    const hasReservation = !comesFirst(order?.orderId, reservation?.reservationId);
    const pair = {
      order: hasOrder ? order : undefined,
      reservation: hasReservation ? reservation : undefined,
    };
    yield { ...pair, isTwice: false };
    if (hasOrder) order = (await orders.next()).value;
    if (!hasReservation) continue;
    const id: string | undefined = pair.reservation?.reservationId;
    reservation = (await reservations.next()).value;
    while (reservation && reservation.reservationId === id) {
      yield { order: undefined, reservation, isTwice: true };
      reservation = (await reservations.next()).value;
    }
  }
}
