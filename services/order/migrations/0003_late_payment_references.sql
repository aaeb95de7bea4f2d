-- The references of all payments that came too late for an order, oldest first, so that each of them is known
-- when it comes again. What payment_reference says counts beside them: a release before writes nothing else,
-- and has left nothing else. No row is written for the default. That they are few is the service's own limit
-- and not checked here, since every statement on orders reads its constraints anew.
alter table orders
  add column late_payment_references text[] not null default '{}';
