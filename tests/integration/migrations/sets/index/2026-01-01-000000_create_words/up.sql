CREATE TABLE words AS SELECT n AS id, md5(n::text) AS word FROM generate_series(1, 5000) AS n;
