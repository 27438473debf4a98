CREATE TABLE ran (migration int NOT NULL, by_pid int NOT NULL DEFAULT pg_backend_pid());
INSERT INTO ran VALUES (1);
