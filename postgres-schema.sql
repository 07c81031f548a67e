-- The source database: users, orders, the progress of `consumer`, what Debezium reads, and one role for each of the two.
-- Safe to run again, and in several databases at once (roles belong to the whole server). Names no database.
-- Run as superuser.

BEGIN;
SET LOCAL client_min_messages = warning;
SELECT pg_advisory_xact_lock(hashtext('rowferry schema'));   -- two runs in one database go one after the other

CREATE TABLE IF NOT EXISTS public.users (
  id          uuid           PRIMARY KEY,
  name        varchar(50)    NOT NULL,
  dob         date           NOT NULL,
  created_at  timestamptz(3) NOT NULL,   -- milliseconds, as Cassandra keeps them
  modified_at timestamptz(3) NOT NULL,
  is_deleted  boolean        NOT NULL DEFAULT false
);

CREATE TABLE IF NOT EXISTS public.orders (
  id           uuid           PRIMARY KEY,
  status       varchar(10)    NOT NULL CHECK (status IN ('PLACED', 'SHIPPED', 'DELIVERED', 'CANCELLED')),
  user_id      uuid           NOT NULL REFERENCES public.users,
  quantity     integer        NOT NULL,
  total_amount numeric(10, 2) NOT NULL,
  placed_at    timestamptz(3) NOT NULL,
  modified_at  timestamptz(3) NOT NULL,
  is_deleted   boolean        NOT NULL DEFAULT false
);
CREATE INDEX IF NOT EXISTS orders_user_id ON public.orders (user_id);

-- How far each partition of a topic has been applied, written in the same transaction as the rows themselves.
CREATE TABLE IF NOT EXISTS public.rowferry_progress (
  consumer_group text    NOT NULL,
  topic          text    NOT NULL,
  partition      integer NOT NULL,
  next_offset    bigint  NOT NULL,
  owner_epoch    bigint  NOT NULL,
  topic_id       text,  -- which topic it was: one that is made anew keeps its name, and begins at 0
  PRIMARY KEY (consumer_group, topic, partition)
);
ALTER TABLE public.rowferry_progress ADD COLUMN IF NOT EXISTS topic_id text;

-- Soft deletion of a user reaches its orders. Users and orders arrive on two topics, in any order, so two triggers
-- share the work: the first for the orders that are there when the user changes, the second for orders that come
-- later. Both do the same to a row, greatest() does not care who is first, and neither asks the server's clock, so
-- a history ends in the same rows however its two topics interleave and however often a part is applied again.

-- Fires on every update of a deleted user, not only on the one that deletes it: a later change of the user moves
-- modified_at of its orders as well, as it would have if those orders had come after it. Orders already deleted take
-- part for the same reason. Rows that would not change are left alone: each update is a change event.
CREATE OR REPLACE FUNCTION public.delete_orders_of_deleted_user() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE public.orders
     SET is_deleted = true,
         modified_at = greatest(modified_at, NEW.modified_at)
   WHERE user_id = NEW.id
     AND (NOT is_deleted OR modified_at < NEW.modified_at);
  RETURN NULL;
END
$$;

-- Reads its user FOR SHARE, which waits for a transaction that is changing that user and keeps others from changing
-- it until this order is committed. The foreign key's own lock (FOR KEY SHARE) does not: an order could slip in
-- beside the update that deletes its user, unseen by that update and blind to it.
-- When the first trigger is what updates the order, the user's row is already ours and deleted, and this one
-- computes the same values again.
-- Deadlocks: an update of an order holds the order and then wants its user, the first trigger holds the user and
-- then wants its orders. No order of locks inside a trigger avoids that, since the row is locked before BEFORE
-- triggers run. Postgres ends one of the two with 40P01 and its transaction is run again; a writer that locks
-- the users of its orders first, in key order, meets it seldom.
CREATE OR REPLACE FUNCTION public.delete_order_of_deleted_user() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  user_modified_at timestamptz;
  user_is_deleted  boolean;
BEGIN
  SELECT modified_at, is_deleted INTO user_modified_at, user_is_deleted
    FROM public.users WHERE id = NEW.user_id FOR SHARE;
  IF user_is_deleted THEN          -- no such user: null, and the foreign key refuses the row
    NEW.is_deleted := true;
    NEW.modified_at := greatest(NEW.modified_at, user_modified_at);
  END IF;
  RETURN NEW;
END
$$;

-- Replication reads whole old rows: a target row whose key holds other columns than the source's can only be
-- removed when the old row is known. Only what is missing is done, for each of these waits for running writers.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['users', 'orders'] LOOP
    IF (SELECT relreplident FROM pg_class WHERE oid = ('public.' || name)::regclass) <> 'f' THEN
      EXECUTE format('ALTER TABLE public.%I REPLICA IDENTITY FULL', name);
    END IF;
  END LOOP;

  IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'delete_orders_of_deleted_user' AND tgrelid = 'public.users'::regclass) THEN
    CREATE TRIGGER delete_orders_of_deleted_user
      AFTER UPDATE ON public.users
      FOR EACH ROW WHEN (NEW.is_deleted)
      EXECUTE FUNCTION public.delete_orders_of_deleted_user();
  END IF;

  IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'delete_order_of_deleted_user' AND tgrelid = 'public.orders'::regclass) THEN
    CREATE TRIGGER delete_order_of_deleted_user
      BEFORE INSERT OR UPDATE ON public.orders
      FOR EACH ROW
      EXECUTE FUNCTION public.delete_order_of_deleted_user();
  END IF;

  IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = 'cdc_pub') THEN
    CREATE PUBLICATION cdc_pub FOR TABLE public.users, public.orders;
  END IF;
END
$$;

-- Roles are the server's, not the database's: another run may create one between our look and our CREATE.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'debezium') THEN
    CREATE ROLE debezium LOGIN REPLICATION PASSWORD 'debezium';
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rowferry') THEN
    CREATE ROLE rowferry LOGIN PASSWORD 'rowferry';
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;

-- Debezium only reads. `consumer` neither deletes (deletion is a column) nor changes tables.
GRANT USAGE ON SCHEMA public TO debezium, rowferry;
GRANT SELECT ON public.users, public.orders TO debezium;
GRANT SELECT, INSERT, UPDATE ON public.users, public.orders, public.rowferry_progress TO rowferry;

COMMIT;
