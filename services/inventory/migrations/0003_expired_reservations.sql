-- Only a reservation that was made directly can expire, so there may be none among millions that ended: a
-- list of them must not look through all of those. The ends of orders' reservations write nothing here.
create index ended_reservations_by_expired on ended_reservations (tenant_id, create_time, reservation_id)
where state = 'EXPIRED';
