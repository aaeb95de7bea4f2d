-- An order that is paid late has a second reservation, whose id is not the order's: this finds it by its
-- owner. Few are in it.
create index reservations_by_late_owner on reservations (tenant_id, owner)
where owner like 'orders/%' and owner <> 'orders/' || reservation_id::text;

create index ended_reservations_by_late_owner on ended_reservations (tenant_id, owner)
where owner like 'orders/%' and owner <> 'orders/' || reservation_id::text;
