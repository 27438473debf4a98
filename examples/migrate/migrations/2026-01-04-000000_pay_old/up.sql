UPDATE invoices SET paid = true WHERE id < 10000;
SELECT pg_sleep(0.8);
