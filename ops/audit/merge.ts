import type { Case, OrderFacts, ReservationFacts } from "./agreement.ts";

/**
 * Walks orders and reservations side by side, both by ascending id, and puts together what has one id; never
 * has more than a page of each in memory.
 */
export async function* mergeById(
  orders: AsyncIterator<OrderFacts, undefined>,
  reservations: AsyncIterator<ReservationFacts, undefined>,
): AsyncGenerator<Case> {
  let order = (await orders.next()).value;
  let reservation = (await reservations.next()).value;
  while (order || reservation) {
    // Ids are lower-case texts of one length, so that texts and Postgres sort them alike.
    const [orderId, reservationId] = [order?.orderId, reservation?.reservationId];
    const isOrdersTurn = reservationId === undefined || (orderId !== undefined && orderId <= reservationId);
    const id = isOrdersTurn ? orderId : reservationId;
    const ofId: ReservationFacts[] = [];
    while (reservation && reservation.reservationId === id) {
      ofId.push(reservation);
      reservation = (await reservations.next()).value;
    }
    yield { order: isOrdersTurn ? order : undefined, reservations: ofId };
    if (isOrdersTurn) order = (await orders.next()).value;
  }
}
