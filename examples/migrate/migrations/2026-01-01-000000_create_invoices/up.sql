CREATE TABLE invoices AS SELECT id, md5(id::text) AS number FROM generate_series(1, 20000) AS id;
