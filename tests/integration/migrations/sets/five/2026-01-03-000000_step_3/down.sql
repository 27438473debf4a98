DELETE FROM ran WHERE migration = 3;
