ALTER TABLE invoices ADD COLUMN paid bool NOT NULL DEFAULT false;
-- Stands for the work of a bigger table.
SELECT pg_sleep(0.8);
